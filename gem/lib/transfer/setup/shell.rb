# frozen_string_literal: true

require "open3"

module Transfer
  class Setup
    # Runs commands and keeps the output of the last one in a log.
    class Shell
      # @param log [String] path of the log
      def initialize(log)
        @log = log
      end

      # @param command [Array<String>]
      # @yieldparam line [String] of the output
      # @return [void]
      # @raise [DependencyError] if the command fails, with the cause and the path of the log
      def run(*command, &)
        lines = []
        # Whatever the caller's umask is, others must not be able to change code that we will run.
        status = Open3.popen2e(*command, umask: File.umask | Permissions::OTHERS) do |input, output, process|
          input.close
          output.set_encoding(Encoding::UTF_8)
          keep(output, lines, &)
          process.value
        end
        return if status.success?

        raise DependencyError, "#{command.first(4).join(' ')} failed: #{first_error(lines)}; all it said is in #{@log}"
      end

      private

      def keep(output, lines)
        File.open(@log, "w") do |file|
          output.each_line do |line|
            file.write(line)
            lines << line.scrub.strip
            yield lines.last if block_given?
          end
        end
      end

      # pip begins with the cause and ends with hints.
      def first_error(lines) = lines.filter_map { |line| line[/\AERROR: (.*)/, 1] }.first || lines.last
    end
  end
end
