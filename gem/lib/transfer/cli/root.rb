# frozen_string_literal: true

require_relative "command"

module Transfer
  module CLI
    # The commands. Each file in commands/ adds one, or a class of subcommands.
    class Root < Command
      class << self
        # @param argv [Array<String>]
        # @return [void]
        def run(argv) = dispatch(nil, route(argv.map { |word| readable(word) }), nil, { shell: Thor::Shell::Basic.new })

        # @return [Array<String>] the words before each command
        def prefix = ["transfer"]

        # @return [String] the text above the list of commands
        def introduction = <<~TEXT
          Usage: transfer COMMAND [ARGUMENTS] [OPTIONS]

          Train and use image, text and tabular models with transfer learning.

            transfer train photos/ --save signs.transfer
            transfer predict signs.transfer new.jpg
        TEXT

        # Prints the commands and the exit statuses.
        # @return [void]
        def help(shell, *)
          super
          shell.say <<~TEXT

            Exit status: 0 success, 1 unexpected error, 2 wrong command line or recipe,
            3 unusable data, 4 machine or dependency, 5 some inputs failed, 130 interrupted.
            TRANSFER_DEBUG=1 prints the backtrace of an error.
          TEXT
        end

        private

        # Thor stops at bytes that are not text.
        def readable(word)
          Plain.text(word)
        rescue ArgumentError => error
          raise DataError, "#{error.message}. Fix: rename the file"
        end

        # Spellings that Thor lacks: `--version`, `COMMAND --help`, and `-` for standard input.
        def route(argv)
          return ["version"] if argv == ["--version"]

          words = argv.take_while { |word| word != "--" }
          return help_for(words.grep_v(/\A-/)) if words.first == "help" || words.intersect?(%w[--help -h])

          words.include?("-") ? [*(words - ["-"]), "--", "-", *argv.drop(words.size + 1)] : argv
        end

        def help_for(words)
          name, action = words - ["help"]
          subcommand_classes.key?(name) ? [name, "help", *action] : ["help", *name]
        end
      end
    end
    private_constant :Root
  end
end

# In the order of `transfer help`.
%w[train check audit estimate compare rank learning_curve soup resume runs predict predict_all explain
   features attention similar evaluate report select embed export info backbones keygen sign verify cache worker setup
   doctor version completions uninstall].each do |name|
  require_relative "commands/#{name}"
end
