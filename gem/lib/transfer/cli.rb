# frozen_string_literal: true

require "json"
require "thor"
require "transfer"

require_relative "cli/exit_status"
require_relative "cli/failure"
require_relative "cli/root"

module Transfer
  # The command `transfer`. docs/reference/cli.md documents the commands, JSON output and exit statuses.
  module CLI
    class << self
      # Runs one command line. Results go to standard output, messages to standard error. With `--json` an error is one
      # line of JSON on standard output.
      #
      # @param argv [Array<String>]
      # @return [Integer] the exit status, see {ExitStatus}
      def run(argv)
        perform(argv).tap { $stdout.flush }
      rescue Errno::EPIPE # the reader of the output has ended, such as `head`
        ExitStatus::PIPE_CLOSED
      end

      private

      def perform(argv)
        catch(:exit_status) do
          Root.run(argv)
          ExitStatus::OK
        end
      rescue Errno::EPIPE
        raise
      rescue StandardError, Interrupt => error
        Failure.new(error, argv).print
      end
    end
  end
end
