# frozen_string_literal: true

require "json"
require "thor"
require "transfer"

require_relative "cli/table"
require_relative "cli/help"

module Transfer
  # The command `transfer`. An error is one line; `TRANSFER_DEBUG=1` shows where it came from.
  class CLI < Thor
    # It worked.
    OK = 0
    # The data, the recipe or the machine is at fault.
    FAULT = 1
    # The command line is wrong.
    USAGE = 2
    # Some inputs can't be read; the others were predicted.
    SOME_FAILED = 3
    # Ctrl-C.
    INTERRUPTED = 130

    # Ends a command with a status when everything has been said already.
    class Finished < StandardError
      attr_reader :status

      def initialize(status)
        @status = status
        super("finished with status #{status}")
      end
    end
    private_constant :Finished

    # What Thor puts for an option that is given without its value.
    NO_VALUE = "\u0000"
    # Options of other tools, and their names here.
    SYNONYMS = { "--lr" => "--learning-rate", "--batch" => "--batch-size", "--gpu" => "--device cuda",
                 "--output" => "--save", "--model" => "--backbone" }.freeze
    private_constant :NO_VALUE, :SYNONYMS

    check_unknown_options!
    extend Help

    # An option of text that is given without a value is noticed, where Thor would take its default.
    def self.option(name, details = {})
      text = details.fetch(:type, :string) == :string
      super(name, text ? { **details, lazy_default: NO_VALUE } : details)
    end

    # @raise [Thor::Error] for an option without its value
    def initialize(...)
      super
      name, = options.find { |_, value| value == NO_VALUE }
      raise Thor::Error, "--#{name.tr('_', '-')} needs a value" if name
    end

    def self.json_option = option(:json, type: :boolean, desc: "Print the result as JSON, for programs")
    def self.trust_option = option(:trust, type: :boolean, desc: "Allow code to run that comes with the model")

    def self.signed_by_option
      option :signed_by, banner: "KEY", desc: "Public key that must have signed the model"
    end
    private_class_method :json_option, :trust_option, :signed_by_option

    # Words of a recipe that errors name, as options.
    IN_OPTIONS = { "on_bad_input: :skip" => "--on-bad-input skip", "trust: true" => "--trust" }.freeze
    private_constant :IN_OPTIONS

    class << self
      # Runs one command line, writing to standard output and standard error.
      #
      # @param argv [Array<String>]
      # @return [Integer] the exit status
      def run(argv)
        start(as_thor_likes_it(argv.map { |word| readable(word) }), debug: true)
        OK
      rescue Finished => error
        error.status
      rescue Thor::Error => error
        complain(error, wrong_usage(error, ["transfer help", *command_in(argv)].join(" ")), USAGE)
      rescue RecipeError => error
        problems = error.problems.map { |problem| problem.with(location: nil) }
        complain(error, in_options(problems.join("\ntransfer: ")), FAULT)
      rescue Transfer::Error => error
        complain(error, in_options(error.message), FAULT)
      rescue Interrupt
        warn "transfer: stopped"
        INTERRUPTED
      rescue StandardError => error
        complain(error, "#{error.message} (#{error.class}; TRANSFER_DEBUG=1 shows where)", FAULT)
      end

      # Thor would end the process by itself.
      def exit_on_failure? = false

      private

      # Thor stumbles over bytes that are no text.
      def readable(word)
        Plain.text(word)
      rescue ArgumentError => error
        raise DataError, "#{error.message}: rename the file"
      end

      # `transfer train --help` is `transfer help train`.
      def as_thor_likes_it(argv)
        return ["version"] if argv == ["--version"]

        words = argv.take_while { |word| word != "--" }
        return ["help", *words.reject { |word| word.start_with?("-") }.first(1)] if words.intersect?(%w[--help -h])

        # Thor takes a lone - for an option.
        words.include?("-") ? [*(words - ["-"]), "--", "-", *argv.drop(words.size + 1)] : argv
      end

      def complain(error, message, status)
        warn "transfer: #{message}"
        warn error.full_message(highlight: false) if ENV["TRANSFER_DEBUG"] == "1"
        status
      end

      # The core names the way out as a recipe spells it.
      def in_options(message) = message.gsub(Regexp.union(IN_OPTIONS.keys), IN_OPTIONS)

      def command_in(argv) = argv.first(1).reject { |word| word.start_with?("-") }

      def wrong_usage(error, help)
        case error
        when Thor::UndefinedCommandError
          %(unknown command "#{error.command}"#{suggest(error.command, error.all_commands)}; transfer help lists them)
        when Thor::UnknownArgumentError
          unknown = error.unknown.first
          %(unknown option "#{unknown}"#{suggest(unknown, error.switches)}; #{help} lists them)
        else
          what = error.message[/\A(?:ERROR: )?(.*?)(?:\nUsage.*)?\z/m, 1].tr("\n", " ")
          "#{what.sub(/\A[A-Z]/, &:downcase)}; #{help} explains it"
        end
      end

      def suggest(word, known)
        nearest = SYNONYMS[word] || Suggestion.nearest(word, known)
        nearest ? %(, did you mean "#{nearest}"?) : ""
      end
    end

    private

    def finish(status)
      raise Finished, status
    end

    # The result as JSON if it was asked for, else in words.
    def answer(result)
      options[:json] ? puts(JSON.pretty_generate(result)) : yield
    end
  end
end

require_relative "cli/train"
require_relative "cli/check"
require_relative "cli/resume"
require_relative "cli/runs"
require_relative "cli/predict"
require_relative "cli/use"
require_relative "cli/look"
require_relative "cli/signing"
require_relative "cli/cache"
require_relative "cli/worker"
require_relative "cli/machine"
require_relative "cli/uninstall"
