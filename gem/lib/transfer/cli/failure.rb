# frozen_string_literal: true

module Transfer
  module CLI
    # An error of a command: exit status, lines of text, JSON object.
    class Failure
      # The first class that matches decides.
      STATUSES = {
        Thor::Error => ExitStatus::USAGE, RecipeError => ExitStatus::USAGE,
        DataError => ExitStatus::DATA, ModelFileError => ExitStatus::DATA,
        Interrupt => ExitStatus::INTERRUPTED, Cancelled => ExitStatus::INTERRUPTED,
        ProtocolError => ExitStatus::UNEXPECTED, RemoteError => ExitStatus::UNEXPECTED,
        Error => ExitStatus::MACHINE, Exception => ExitStatus::UNEXPECTED
      }.freeze
      # Options of other tools, and their names here.
      SYNONYMS = { "--lr" => "--learning-rate", "--batch" => "--batch-size", "--gpu" => "--device cuda",
                   "--output" => "--save", "--model" => "--backbone" }.freeze
      # Recipe words in error messages, as options.
      IN_OPTIONS = { "on_bad_input: :skip" => "--on-bad-input skip", "trust: true" => "--trust" }.freeze
      private_constant :STATUSES, :SYNONYMS, :IN_OPTIONS

      # @param error [Exception]
      # @param argv [Array<String>] the command line that failed
      def initialize(error, argv = [])
        @error = error
        @argv = argv.take_while { |word| word != "--" }
      end

      # Writes the error: text to standard error, or with `--json` one line of JSON to standard output.
      # @return [Integer] the exit status
      def print
        if @argv.include?("--json")
          $stdout.puts JSON.generate(error: to_h)
        else
          warn(messages.map { |message| "transfer: #{message}" })
        end
        warn @error.full_message(highlight: false) if ENV["TRANSFER_DEBUG"] == "1"
        STATUSES.find { |type, _| @error.is_a?(type) }.last
      end

      # @return [Hash{Symbol => Object}] `code`, `message`, and where known `path`, `fix` and the `problems` of a recipe
      def to_h
        texts = messages
        problems = @error.problems.zip(texts).map { |problem, text| { path: problem.path, **parts(text) } } if recipe?
        path = @error.details["path"] if @error.is_a?(Error)
        { code:, **(texts.one? ? parts(texts.first) : { message: texts.join("\n") }), path:, problems: }.compact
      end

      private

      # Such as `worker_crashed` of {WorkerCrashed}, `data` of {DataError}.
      def code
        case @error
        when Thor::Error then "usage"
        when Interrupt then "interrupted"
        when Error then @error.class.name.split("::").last.delete_suffix("Error").gsub(/(?<=.)(?=[A-Z])/, "_").downcase
        else "unexpected"
        end
      end

      # The remedy stands at the end of a message, after "Fix:" or "Try:".
      def parts(message)
        text, fix = message.split(/[.;]?\s+(?:Fix|Try): /, 2)
        { message: text, fix: }.compact
      end

      # @return [Array<String>] one, or of a recipe one per problem
      def messages
        texts = case @error
                when Thor::Error then [usage]
                when RecipeError then @error.problems.map { |problem| problem.with(location: nil).to_s }
                when Interrupt then [@error.message[/.+/] || "interrupted"]
                when Error then [@error.message]
                else ["#{@error.message} (#{@error.class}). Try: TRANSFER_DEBUG=1 prints the backtrace"]
                end
        texts.map { |text| text.gsub(Regexp.union(IN_OPTIONS.keys), IN_OPTIONS) }
      end

      def recipe? = @error.is_a?(RecipeError)

      def usage
        message = case @error
                  when Thor::UndefinedCommandError then unknown("command", @error.command, @error.all_commands)
                  when Thor::UnknownArgumentError then unknown("option", @error.unknown.first, @error.switches)
                  else "#{@error.message.sub(/\A[A-Z](?=[a-z])/, &:downcase)}."
                  end
        "#{message} Try: #{['transfer help', *Root.path(@argv - ['help'])].join(' ')}"
      end

      def unknown(what, word, known)
        nearest = SYNONYMS[word] || Suggestion.nearest(word, known)
        %(unknown #{what} "#{word}"#{nearest ? %(, did you mean "#{nearest}"?) : '.'})
      end
    end
    private_constant :Failure
  end
end
