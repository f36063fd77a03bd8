# frozen_string_literal: true

module Transfer
  # The settings of the gem. Each starts from the environment variable of its name (`TRANSFER_IDLE_STOP`).
  #
  # @example
  #   Transfer.configure do |config|
  #     config.quiet = true
  #     config.idle_stop = 60
  #   end
  class Configuration
    # @return [String, nil] the Python interpreter that holds the training core; nil: search for it
    attr_accessor :python
    # @return [Boolean] true: no progress on the terminal. Blocks get their events in any case
    attr_accessor :quiet
    # @return [Symbol] how Python is reached; `:subprocess`
    attr_reader :bridge
    # @return [Numeric, nil] seconds that a call other than a training or an evaluation may take; nil: no limit
    attr_accessor :timeout
    # @return [Numeric] seconds that a starting worker has to answer
    attr_accessor :startup_timeout
    # @return [Numeric, nil] seconds without a call after which a worker is stopped; nil: never
    attr_accessor :idle_stop
    # @return [String, nil] the folder of runs, cache and environment; nil: the core's default
    attr_accessor :home
    # @return [Boolean] true: the core downloads nothing
    attr_accessor :offline
    # @return [Logger, nil] gets what the worker prints (debug) and its warnings
    attr_accessor :logger

    def initialize(env = ENV)
      @python = text(env, "PYTHON")
      @home = text(env, "HOME")
      @quiet = switch(env, "QUIET")
      @offline = switch(env, "OFFLINE")
      @timeout = seconds(env, "TIMEOUT", 600)
      @startup_timeout = seconds(env, "STARTUP_TIMEOUT", 60)
      @idle_stop = seconds(env, "IDLE_STOP", 600)
      self.bridge = text(env, "BRIDGE") || :subprocess
    end

    # @raise [ConfigurationError] if there is no such bridge
    def bridge=(name)
      raise ConfigurationError, "unknown bridge #{name.inspect} (one of: :subprocess)" unless name.to_sym == :subprocess

      @bridge = name.to_sym
    end

    private

    def text(env, name)
      value = env["TRANSFER_#{name}"]
      value unless value.nil? || value.empty?
    end

    def switch(env, name) = !["", "0"].include?(env.fetch("TRANSFER_#{name}", ""))

    # "never" or "none" switch a limit off.
    def seconds(env, name, default)
      value = text(env, name)
      return default if value.nil?
      return nil if %w[never none].include?(value)

      Float(value)
    rescue ArgumentError
      raise ConfigurationError, "TRANSFER_#{name} is a number of seconds or \"never\", got #{value.inspect}"
    end
  end
end
