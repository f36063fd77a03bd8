# frozen_string_literal: true

module Transfer
  module Bridge
    # How a worker is started and kept. `child` makes what stands for it here, from this, the shared memory, and a block
    # that says whether nobody waits for it any more.
    Launch = ::Data.define(:command, :env, :startup_timeout, :limits, :logger, :trace, :child) do
      def initialize(command:, **rest)
        super(command:, **{ env: ENV.to_h, startup_timeout: 60, limits: Limits.new, logger: nil, trace: nil,
                            child: Child.method(:new), **rest })
      end

      def program = command.first

      # Yields to start it.
      # @raise [ConfigurationError] if the system refuses
      def attempt
        yield
      rescue SystemCallError => error
        raise ConfigurationError, "can't start #{program}: #{error.message}"
      end

      # @param output [IO] for both of its output streams
      # @param inherited [Array<IO>] open in it under the same numbers
      # @return [Integer] the process
      # @raise [SystemCallError] if it can't be started
      def spawn(*arguments, output:, inherited:)
        Process.spawn(env, [program, program], *command.drop(1), *arguments,
                      unsetenv_others: true, close_others: true, in: File::NULL, %i[out err] => output,
                      **inherited.to_h { |io| [io, io] })
      end
    end
  end
end
