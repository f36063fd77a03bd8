# frozen_string_literal: true

require "json"
require "thor"
require "transfer"

require_relative "cli/table"
require_relative "cli/help"

module Transfer
  # The command `transfer`. Exit statuses: 0 it worked; 1 the data, the recipe or the machine is at fault (or
  # `doctor` found something broken); 2 the command line is wrong; 130 stopped by Ctrl-C.
  #
  # `TRANSFER_DEBUG=1` shows where an error came from.
  class CLI < Thor
    OK = 0
    FAULT = 1
    USAGE = 2
    INTERRUPTED = 130

    # Ends a command with a status when everything has been said already.
    Finished = Class.new(StandardError) { attr_accessor :status }
    private_constant :Finished

    check_unknown_options!
    extend Help

    def self.json_option = option(:json, type: :boolean, desc: "Print the result as JSON, for programs")
    private_class_method :json_option

    class << self
      # Runs one command line, writing to standard output and standard error.
      #
      # @param argv [Array<String>]
      # @return [Integer] the exit status
      def run(argv)
        start(with_help_first(argv), debug: true)
        OK
      rescue Finished => e
        e.status
      rescue Thor::Error => e
        complain(e, wrong_usage(e), USAGE)
      rescue RecipeError => e
        complain(e, e.problems.map { |problem| problem.with(location: nil) }.join("\ntransfer: "), FAULT)
      rescue Transfer::Error => e
        complain(e, e.message, FAULT)
      rescue Interrupt
        warn "transfer: stopped"
        INTERRUPTED
      rescue StandardError => e
        complain(e, "#{e.message} (#{e.class}; TRANSFER_DEBUG=1 shows where)", FAULT)
      end

      # Thor would end the process by itself.
      def exit_on_failure? = false

      private

      # `transfer train --help` is `transfer help train`.
      def with_help_first(argv)
        return ["version"] if argv == ["--version"]
        return argv unless argv.intersect?(%w[--help -h])

        ["help", *argv.reject { |word| word.start_with?("-") }.first(1)]
      end

      def complain(error, message, status)
        warn "transfer: #{message}"
        warn error.full_message(highlight: false) if ENV["TRANSFER_DEBUG"] == "1"
        status
      end

      def wrong_usage(error)
        case error
        when Thor::UndefinedCommandError
          %(unknown command "#{error.command}"#{suggest(error.command, error.all_commands)}; transfer help lists them)
        when Thor::UnknownArgumentError
          unknown = error.unknown.first
          %(unknown option "#{unknown}"#{suggest(unknown, error.switches)}; transfer help COMMAND lists them)
        else
          error.message.sub(/\AERROR: /, "").sub(/\n+Usage: "?(.*?)"?\z/m, '; usage: \1').tr("\n", " ")
        end
      end

      def suggest(word, known)
        nearest = Suggestion.nearest(word, known)
        nearest ? %(, did you mean "#{nearest}"?) : ""
      end
    end

    private

    def finish(status)
      raise Finished.new.tap { |finished| finished.status = status }
    end

    # The result as JSON if it was asked for, else in words.
    def answer(result)
      options[:json] ? puts(JSON.pretty_generate(result)) : yield
    end
  end
end

require_relative "cli/train"
require_relative "cli/use"
require_relative "cli/look"
require_relative "cli/machine"
