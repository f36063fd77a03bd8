# frozen_string_literal: true

require_relative "inputs"

module Transfer
  # Predictions.
  class CLI
    desc "predict MODEL INPUT...", "Predict labels or values for photos, texts or rows"
    long_desc <<~TEXT, wrap: false
      Prints a line per input: label, score (0 to 1) and the input with tabs between
      them; of a regression the number and the input; of a model of labels those that
      reach their threshold, with | between them, and the input. An input is what the
      model was trained on: the file of a photo; a text; or as JSON two texts, a row
      of a table.

        transfer predict signs.transfer a.jpg b.jpg
        transfer predict signs.transfer --top 3 a.jpg
        transfer predict signs.transfer --level 0.9 a.jpg
        find photos -name '*.jpg' | transfer predict signs.transfer -
        transfer predict mood.transfer "What a day!"
        transfer predict mood.transfer -- "-5 degrees and rain"
        transfer predict prices.transfer '{"rooms": 3, "city": "Ulm"}' --json

      What follows -- is an input, even if it begins with -. Results are printed as
      they come. An input that can't be read is a line on standard error, in JSON an
      object with "error"; the exit status is 3 if others were predicted, else 1.
      --on-bad-input skip leaves it out with a warning, raise stops with an error.
    TEXT
    option :top, type: :numeric, desc: "How many labels per input, a line each (1)"
    option :level, type: :numeric, desc: "Coverage such as 0.9: add the set or interval"
    option :on_bad_input, banner: "WORD", default: "mark", enum: %w[mark skip raise],
                          desc: "mark, skip or raise unreadable inputs (mark)"
    option :json_lines, type: :boolean, desc: "Print a JSON object per line, as results come"
    trust_option
    signed_by_option
    json_option
    # Predicts inputs.
    def predict(model, *inputs)
      check_top
      check_named(inputs)
      loaded = open_model(model)
      count = Hash.new(0)
      results = Enumerator.new do |out|
        each_result(loaded, inputs) do |input, result|
          count[result.ok?] += 1
          out << [input, result]
        end
      end
      options[:json] ? show_json(results.lazy) : results.each { |input, result| show(input, result) }
      finish_with(count)
    end

    private

    def open_model(model)
      Transfer.load(model, trust: options.fetch(:trust, false), signed_by: options[:signed_by])
    end

    def check_top
      top = options[:top]
      return if top.nil? || (top.is_a?(Integer) && top.positive?)

      raise Thor::Error, "--top takes a whole number from 1 on, got #{top}"
    end

    def check_named(inputs)
      raise Thor::Error, "name at least one input, or - to read them from standard input" if inputs.empty?
    end

    # @yieldparam input [String]
    # @yieldparam result [Prediction, BadInput]
    def each_result(loaded, inputs)
      Inputs.each_batch(inputs, loaded.modality) do |batch|
        readable = batch.reject(&:error).map(&:value)
        predictions = loaded.predict(readable, level: options[:level], on_bad_input: :mark).each
        batch.each do |line|
          result = line.error ? BadInput.new(line.text, DataError.new(line.error)) : predictions.next
          raise result.error if result.failed? && options[:on_bad_input] == "raise"

          yield line.text, result
        end
        $stdout.flush # it is buffered where it is no terminal
      end
    end

    def show_json(results)
      puts JSON.pretty_generate(results.reject { |_, result| skip?(result) }.map { |pair| as_json(*pair) }.to_a)
    end

    def show(input, result)
      return if skip?(result)
      return puts(JSON.generate(as_json(input, result))) if options[:json_lines]
      return warn("transfer: #{complaint(input, result)}") if result.failed?

      answers(result).each { |words| puts [*words, input.tr("\t\n", " ")].join("\t") }
    end

    def as_json(input, result) = { input:, **result.to_h }

    def skip?(result) = result.failed? && skipping?

    # A message about an input without a name of its own, such as a text, quotes the input.
    def complaint(input, result)
      message = result.message
      place = Input::PLACE.match(message)
      place ? "#{Plain.brief(input)}: #{place.post_match}" : message
    end

    def finish_with(count)
      return unless count[false].positive?
      return warn("transfer: warning: left out #{count[false]} inputs that can't be read") if skipping?

      finish(count[true].positive? ? SOME_FAILED : FAULT)
    end

    def skipping? = options[:on_bad_input] == "skip"

    def answers(prediction)
      case prediction
      in { labels: } unless options[:top] then [[labels.join("|")]]
      in { scores: _ } then prediction.top(options[:top] || 1).map do |label, score|
                              [label, format("%.4f", score), *around(prediction)]
                            end
      in { values: } then [[*values.map { |pair| pair.join("=") }, *around(prediction)]]
      in { value: } then [[value, *around(prediction)]]
      end
    end

    # The set or the intervals, if a level was asked for.
    def around(prediction)
      case prediction
      in { set: } then [set.join("|")]
      in { intervals: } then intervals.values.map { |low, high| "#{low}..#{high}" }
      in { interval: [low, high] } then ["#{low}..#{high}"]
      else []
      end
    end
  end
end
