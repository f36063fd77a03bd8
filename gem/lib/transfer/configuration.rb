# frozen_string_literal: true

module Transfer
  # The settings of the gem. Each starts from the environment variable of its name (`TRANSFER_IDLE_STOP`).
  #
  # @example
  #   Transfer.configure do |config|
  #     config.quiet = true
  #     config.idle_stop = 60
  #     config.max_memory = "2GB"
  #   end
  class Configuration
    # What people write for no and for yes.
    OFF = ["", "0", "false", "no", "off"].freeze
    ON = %w[1 true yes on].freeze
    BRIDGES = %i[subprocess pycall].freeze
    # The process that loaded the gem; others were forked from it.
    ORIGIN = Process.pid
    # What the worker is told, under the same names.
    OF_WORKER = %i[serving_batch_size serving_wait_ms serving_queue_limit model_memory threads training_threads].freeze
    private_constant :OFF, :ON, :BRIDGES, :OF_WORKER

    # @return [String, nil] the Python interpreter that holds the training core; nil: search for it
    attr_accessor :python
    # @return [Boolean] true: no progress on the terminal. Blocks get their events in any case
    attr_accessor :quiet
    # @return [Symbol] how Python is reached; `:subprocess`, or `:pycall`: within this process (docs/pycall.md)
    attr_reader :bridge
    # @return [Boolean, String] true: the processes of this user on this machine share one worker for everything but
    #   training and evaluation; a folder: those that name it do (docs/operations.md)
    attr_accessor :shared_worker
    # @return [Numeric, nil] seconds that a call other than a training or an evaluation may take; nil: no limit
    attr_accessor :timeout
    # @return [Numeric] seconds that a starting worker has to answer
    attr_accessor :startup_timeout
    # @return [Numeric, nil] seconds without a call after which a worker is stopped; nil: never
    attr_accessor :idle_stop
    # @return [Numeric, nil] seconds after which a worker is replaced, between calls; nil: never
    attr_accessor :max_lifetime
    # @return [Integer, nil] calls after which a worker is replaced; nil: never
    attr_accessor :max_requests
    # @return [Integer, nil] bytes of memory with which a worker is replaced, between calls; nil: never
    attr_reader :max_memory
    # @return [Integer, nil] inputs that go through a network together at most, whoever asked for them; nil: as many as
    #   were measured to be fastest
    attr_accessor :serving_batch_size
    # @return [Numeric, nil] milliseconds that a decoded input waits for others; nil: none, it is computed with what has
    #   come while others were computed
    attr_accessor :serving_wait_ms
    # @return [Integer, nil] requests for predictions that a worker has in hand at most, the next raises {Overloaded};
    #   nil: 1000
    attr_accessor :serving_queue_limit
    # @return [Integer, nil] bytes of models that a worker keeps in memory; nil: a quarter of the machine's, and at most
    #   2 GB
    attr_reader :model_memory
    # @return [Integer, nil] cores that a worker uses; nil: all
    attr_accessor :threads
    # @return [Integer, nil] cores that a training uses; nil: as many as the worker
    attr_accessor :training_threads
    # @return [Array<String>] names of environment variables that the worker inherits besides those it needs;
    #   `MY_*` stands for all that begin with `MY_`
    attr_accessor :environment
    # @return [String, nil] the folder of runs, cache and environment; nil: the core's default
    attr_accessor :home
    # @return [Boolean] true: the core downloads nothing
    attr_accessor :offline
    # @return [Logger, nil] gets calls and what the worker prints (debug), starts and stops (info), its warnings
    attr_accessor :logger
    # @return [Boolean] true: every message to and from the worker is one line, on the logger or standard error
    attr_accessor :debug

    def initialize(env = ENV)
      @env = env.to_h.select { |name, _| name.start_with?("TRANSFER_") }
      @python = text("PYTHON")
      @home = text("HOME")
      @quiet = switch("QUIET")
      @offline = switch("OFFLINE")
      @debug = switch("DEBUG")
      @timeout = seconds("TIMEOUT", 600)
      @startup_timeout = seconds("STARTUP_TIMEOUT", 60)
      @idle_stop = seconds("IDLE_STOP", 600)
      @max_lifetime = seconds("MAX_LIFETIME", nil)
      @max_requests = seconds("MAX_REQUESTS", nil, "a number")&.to_i
      self.max_memory = text("MAX_MEMORY")
      read_for_worker
      @shared_worker = shared(text("SHARED_WORKER"))
      @environment = list("ENVIRONMENT")
      self.bridge = text("BRIDGE") || :subprocess
    end

    # @raise [ConfigurationError] if there is no such bridge
    def bridge=(name)
      unless BRIDGES.include?(name.to_sym)
        raise ConfigurationError, "unknown bridge #{name.inspect} (one of: #{BRIDGES.map(&:inspect).join(', ')})"
      end

      @bridge = name.to_sym
    end

    # @param size [Integer, String, nil] bytes, or text such as `"2GB"` or `"500 MB"`
    # @raise [ConfigurationError] if it is no size
    def max_memory=(size)
      @max_memory = size.is_a?(String) ? bytes(size, "max_memory") : size
    end

    # @param size (see #max_memory=)
    # @raise (see #max_memory=)
    def model_memory=(size)
      @model_memory = size.is_a?(String) ? bytes(size, "model_memory") : size
    end

    # @api private
    # @return [Hash{String => String, nil}] environment variables for the worker
    def for_worker = OF_WORKER.to_h { |name| ["TRANSFER_#{name.upcase}", public_send(name)&.to_s] }

    private

    def read_for_worker
      self.model_memory = text("MODEL_MEMORY")
      @serving_batch_size, @serving_wait_ms, @serving_queue_limit, @threads, @training_threads =
        %w[SERVING_BATCH_SIZE SERVING_WAIT_MS SERVING_QUEUE_LIMIT THREADS TRAINING_THREADS].map { |name| number(name) }
    end

    def text(name)
      value = @env["TRANSFER_#{name}"]
      value unless value.nil? || value.empty?
    end

    def list(name) = text(name).to_s.split(/[\s,]+/)

    def switch(name) = !OFF.include?(@env.fetch("TRANSFER_#{name}", "").downcase)

    def shared(where)
      case where&.downcase
      when nil, *OFF then false
      when *ON then true
      else where
      end
    end

    # "never" or "none" switch a limit off.
    def seconds(name, default, of = "a number of seconds")
      value = text(name)
      return default if value.nil?
      return nil if %w[never none].include?(value)

      Float(value)
    rescue ArgumentError
      raise ConfigurationError, "TRANSFER_#{name} is #{of} or \"never\", got #{value.inspect}"
    end

    def number(name)
      value = text(name)
      value && (Integer(value, exception: false) || Float(value))
    rescue ArgumentError
      raise ConfigurationError, "TRANSFER_#{name} is a number, got #{value.inspect}"
    end

    def bytes(size, name)
      return if %w[never none].include?(size)

      Amounts.bytes(size) || raise(ConfigurationError, "#{name} is a size such as \"2GB\", got #{size.inspect}")
    end
  end
end
