# frozen_string_literal: true

require "open3"

module Transfer
  class Setup
    # Runs commands. The output of the last one is in a log.
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
        # Other users must never be able to change code that runs later, whatever the umask is.
        status = Open3.popen2e(*command, umask: File.umask | Permissions::OTHERS) do |input, output, process|
          input.close
          output.set_encoding(Encoding::UTF_8)
          log(output, lines, &)
          process.value
        end
        return if status.success?

        raise DependencyError, "#{command.first(4).join(' ')} failed: #{first_error(lines)}. Full output: #{@log}"
      end

      private

      def log(output, lines)
        File.open(@log, "w") do |file|
          output.each_line do |line|
            file.write(line)
            lines << line.scrub.strip
            yield lines.last if block_given?
          end
        end
      end

      # pip prints the cause first and hints last.
      def first_error(lines) = lines.filter_map { |line| line[/\AERROR: (.*)/, 1] }.first || lines.last
    end
  end
end
