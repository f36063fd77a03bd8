# frozen_string_literal: true

require_relative "configuration/kinds"

module Transfer
  # The settings of the gem. Each but the logger and the executor starts from the environment variable of its name
  # (`TRANSFER_IDLE_STOP`). An invalid value is a {ConfigurationError}.
  #
  # @example
  #   Transfer.configure do |config|
  #     config.quiet = true
  #     config.idle_stop = 60
  #     config.max_memory = "2GB"
  #   end
  class Configuration
    # The process that loaded the gem; others were forked from it.
    ORIGIN = Process.pid
    # Settings of the worker, sent to it under the same names.
    OF_WORKER = %i[serving_batch_size serving_wait_ms serving_queue_limit model_memory threads training_threads].freeze
    # Limits on inputs, which the worker gets as well.
    # @api private
    LIMITS = %i[max_image_bytes max_pixels max_text_length max_line_length max_rows max_columns max_cells max_labels
                max_data_bytes].freeze
    # Limits on runs: nil is sent as `none`, since the worker has defaults.
    UPKEEP = %i[runs_limit runs_keep].freeze
    # By name: the kind, and the default.
    SETTINGS = {} # rubocop:disable Style/MutableConstant -- filled below
    private_constant :OF_WORKER, :UPKEEP, :SETTINGS

    class << self
      private

      # @!macro [attach] setting
      #   @!attribute [rw] $1
      def setting(name, kind, default = nil)
        SETTINGS[name] = [kind, default]
        attr_reader name

        define_method(:"#{name}=") { |value| set(name, kind, value) }
      end
    end

    # @return [String, nil] the Python interpreter that holds the training core; nil: search for it
    setting :python, :path
    # @return [String, nil] the file libonnxruntime.so, or its folder; nil: search for it
    #   (docs/guides/serving-without-python.md)
    setting :onnxruntime, :path
    # @return [Boolean] true: no progress on the terminal. Blocks get their events in any case
    setting :quiet, :switch
    # @return [Symbol] how Python is reached; `:subprocess`, or `:pycall`: within this process (docs/guides/pycall.md)
    setting :bridge, :bridge, :subprocess
    # @return [Boolean, String] true: the processes of this user on this machine share one worker for everything but
    #   training and evaluation; a folder: those that name it do (docs/guides/operate.md)
    setting :shared_worker, :sharing
    # @return [Numeric, nil] seconds that a call other than a training or an evaluation may take; nil: no limit
    setting :timeout, :seconds, 600
    # @return [Numeric] seconds within which a starting worker must reply
    setting :startup_timeout, :patience, 60
    # @return [Numeric, nil] seconds without a call after which a worker is stopped; nil: never
    setting :idle_stop, :seconds, 600
    # @return [Numeric, nil] seconds after which a worker is replaced, between calls; nil: never
    setting :max_lifetime, :seconds
    # @return [Integer, nil] calls after which a worker is replaced; nil: never
    setting :max_requests, :count
    # @return [Integer, nil] bytes of memory with which a worker is replaced, between calls; nil: never. Takes text such
    #   as `"2GB"` or `"500 MB"`, too
    setting :max_memory, :bytes
    # @return [Integer, nil] most inputs of all callers that go through a network together; nil: the number that was
    #   measured to be fastest
    setting :serving_batch_size, :count
    # @return [Numeric, nil] milliseconds that a decoded input waits for others; nil: none, it is computed with the
    #   inputs that arrived during the computation before
    setting :serving_wait_ms, :milliseconds
    # @return [Integer, nil] requests for predictions that a worker has in hand at most, the next raises {Overloaded};
    #   nil: 1000
    setting :serving_queue_limit, :count
    # @return [Integer, nil] bytes of models that a worker keeps in memory, or text as for {#max_memory}; nil: a quarter
    #   of the machine's, and at most 2 GB
    setting :model_memory, :size
    # @return [Integer, nil] cores that a worker uses; nil: all
    setting :threads, :count
    # @return [Integer, nil] cores that a training uses; nil: as many as the worker
    setting :training_threads, :count
    # @return [Integer, nil] bytes of an encoded image at most, or text as for {#max_memory}; nil: 128 MB. This and the
    #   next eight are limits on inputs (docs/guides/operate.md)
    setting :max_image_bytes, :bytes
    # @return [Integer, nil] pixels of an image at most; nil: 67,108,864 (8192 x 8192)
    setting :max_pixels, :count
    # @return [Integer, nil] characters of a text, and of a cell of a table, at most; nil: 1,000,000
    setting :max_text_length, :count
    # @return [Integer, nil] characters of a record of a CSV or JSONL file at most; nil: 16,000,000
    setting :max_line_length, :count
    # @return [Integer, nil] examples in a source of data at most; nil: 2,000,000
    setting :max_rows, :count
    # @return [Integer, nil] columns of a table at most; nil: 16,384
    setting :max_columns, :count
    # @return [Integer, nil] cells, rows times columns, of a table at most; nil: 50,000,000
    setting :max_cells, :count
    # @return [Integer, nil] classes, labels or outputs that are trained at most; nil: 1000
    setting :max_labels, :count
    # @return [Integer, nil] bytes of a CSV, JSONL or decompressed Parquet file at most, or text as for {#max_memory};
    #   nil: 2 GB
    setting :max_data_bytes, :bytes
    # @return [Integer, nil] bytes of all runs, or text as for {#max_memory}; beyond it, a new training removes finished
    #   runs that were not used for a week (docs/guides/resume.md); nil: no limit
    setting :runs_limit, :size, 5_000_000_000
    # @return [Numeric, nil] seconds without use after which a new training removes a finished run whose model was saved
    #   elsewhere, other runs after three times as long; or text such as `"30d"`; nil: never
    setting :runs_keep, :age, 2_592_000
    # @return [Array<String>] names of environment variables that the worker inherits besides those it needs, such as
    #   `HF_TOKEN` for private models, or `HTTPS_PROXY` for a proxy with a password (docs/guides/operate.md)
    setting :environment, :names
    # @return [String, nil] the folder of runs, cache and environment; nil: the core's default
    setting :home, :path
    # @return [String, nil] the Ray cluster that trains, such as `"ray://head:8265"`; nil: this machine
    #   (docs/guides/cluster.md)
    setting :engine, :location
    # @return [String, nil] what the nodes of the cluster share: a directory, or a URL such as `"s3://bucket/transfer"`
    setting :storage, :location
    # @return [Boolean] true: the core downloads nothing
    setting :offline, :switch
    # @return [Array<#fingerprint>, nil] Ed25519 public keys: {Transfer.load} takes no model that none of them signed
    #   (docs/guides/signing.md). Takes a path, text in PEM or OpenSSH format, an OpenSSL::PKey, or an Array of these;
    #   keys are read when they are set. nil: no signature is demanded
    setting :require_signature, :public_keys
    # @return [Boolean] true: every message to and from the worker is one line, on the logger or standard error
    setting :debug, :switch
    SETTINGS.freeze

    # @return [Logger, nil] gets calls and the worker's output (debug), starts and stops (info), its warnings
    attr_reader :logger

    def initialize(env = ENV)
      SETTINGS.each do |name, (kind, default)|
        variable = "TRANSFER_#{name.upcase}"
        text = env.fetch(variable, "")
        text.empty? ? set(name, kind, default) : set(name, kind, text, variable)
      end
    end

    def logger=(logger)
      set(:logger, :logger, logger)
    end

    # @return [#wrap, nil] runs the application's code in threads of the gem: rows of a source, and blocks of events.
    #   Without a setting that of Rails, where it is loaded; false: none (docs/guides/operate.md)
    def executor = @executor.nil? ? rails_executor : @executor || nil

    # @param executor [#wrap, nil, false] see {#executor}
    # @raise [ConfigurationError] for an object without `wrap`
    def executor=(executor)
      set(:executor, :executor, executor)
    end

    # @return [Hash{Symbol => Object}] the settings by name
    def to_h = { **SETTINGS.keys.to_h { |name| [name, public_send(name)] }, logger:, executor: }

    # @return [String] with the settings that differ from their defaults
    def inspect
      changed = SETTINGS.filter_map do |name, (kind, default)|
        value = public_send(name)
        "#{name}=#{value.inspect}" unless value == Kinds.public_send(kind, default)
      end
      "#<#{[self.class, *changed].join(' ')}>"
    end

    # @api private
    # @return [Hash{String => String, nil}] environment variables for the worker
    def for_worker
      own = [*OF_WORKER, *LIMITS].to_h { |name| [name, public_send(name)&.to_s] }
      upkeep = UPKEEP.to_h { |name| [name, (public_send(name) || "none").to_s] }
      { **own, **upkeep }.transform_keys { |name| "TRANSFER_#{name.upcase}" }
    end

    private

    def rails_executor = defined?(::Rails.application.executor) ? ::Rails.application.executor : nil

    # @param place [Symbol, String] the setting or its variable, for the message
    def set(name, kind, value, place = name)
      instance_variable_set(:"@#{name}", Kinds.public_send(kind, value))
    rescue Kinds::Refused => error
      raise ConfigurationError, "#{place} is #{error.message}, got #{value.inspect}", cause: nil
    rescue SignatureError => error # without the value, which may be a private key
      raise ConfigurationError, "#{place}: #{error.message}", cause: nil
    end
  end
end
