# frozen_string_literal: true

require "socket"
require_relative "pycall/refusal"
require_relative "pycall/gil"
require_relative "pycall/interpreter"

module Transfer
  module Bridge
    # The backend `:pycall`: the workers are threads of a Python in this very process. They are reached by the same
    # frames as those in processes of their own, so that the same calls give the same answers.
    module PyCall
      class << self
        # @return [Subprocess] whose workers are none
        # @raise [ConfigurationError, DependencyError] where Python can't or must not be loaded
        def configured
          Refusal.check
          Interpreter.load(Python.command.first)
          Subprocess.new { launch }
        end

        # @return [Launch]
        def launch(config = Transfer.config)
          python = Interpreter.load(Python.command.first)
          settings = { TRANSFER_HOME: config.home, TRANSFER_OFFLINE: ("1" if config.offline),
                       **config.for_worker.transform_keys(&:to_sym) }
          Launch.new(
            command: Python.command, child: ->(_, memory) { Guest.new(python, settings, memory) },
            startup_timeout: config.startup_timeout, logger: config.logger,
            trace: (Trace.new(config.logger) if config.debug)
          )
        end
      end

      # What {Child} is for a process, for a worker in this one.
      class Guest
        # Seconds to stop what it computes, once its socket has ended. Nothing can end it by force.
        PATIENCE_S = 10

        # @return [UNIXSocket] our end
        attr_reader :socket

        # @param python [Interpreter]
        # @param settings [Hash{Symbol => String, nil}] environment variables
        # @param memory [Array<File>] what it is to share with us
        def initialize(python, settings, memory)
          @python = python
          @settings = settings
          @memory = memory
          @socket, @its_socket = UNIXSocket.pair
          @end, @its_end = IO.pipe
        end

        # @return [Integer]
        def pid = Process.pid

        # @yield never: it ends when we say so
        def start
          @python.serve([@its_socket, *@memory, @its_end], @settings)
          @started = true
        ensure
          close_its_ends
        end

        # Waits until it computes no more.
        # @return [Death]
        def bury(greeted:)
          close_its_ends
          @end.wait_readable(PATIENCE_S) if @started
          @end.close
          Death.new(program: "Python", pid:, status: nil, stderr: "", greeted:, kills: false)
        end

        # In a forked child: it is the parent's.
        def abandon = [@its_socket, @end, @its_end].each(&:close)

        private

        def close_its_ends = [@its_socket, @its_end].each(&:close)
      end
      private_constant :Guest
    end
  end
end
