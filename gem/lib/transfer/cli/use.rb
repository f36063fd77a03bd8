# frozen_string_literal: true

require_relative "arguments"
require_relative "embeddings"

module Transfer
  # What a trained model can do.
  class CLI
    # Inputs that go to the worker at once: results of a long list appear while it works.
    BATCH = 64
    private_constant :BATCH

    desc "predict MODEL INPUT...", "What a model says to these photos, texts or rows"
    long_desc <<~TEXT, wrap: false
      Prints a line per input: label, score (0 to 1) and the input with tabs between
      them; of a regression the number and the input; of a model of labels those that
      it says, with | between them, and the input. An input is what the model was
      trained on: the file of a photo; a text; or as JSON two texts, a row of a table.

        transfer predict signs.transfer a.jpg b.jpg
        transfer predict signs.transfer --top 3 a.jpg
        transfer predict signs.transfer --level 0.9 a.jpg
        find photos -name '*.jpg' | transfer predict signs.transfer -
        transfer predict mood.transfer "What a day!"
        transfer predict mood.transfer -- "-5 degrees and rain"
        transfer predict prices.transfer '{"rooms": 3, "city": "Ulm"}' --json

      What follows -- is an input, even if it begins with -.
    TEXT
    option :top, type: :numeric, desc: "How many labels per input, a line each (1)"
    option :level, type: :numeric, desc: "Also what holds the truth so often, such as 0.9"
    trust_option
    signed_by_option
    json_option
    # Predicts inputs.
    def predict(model, *inputs)
      check_top
      batches = each_batch(inputs)
      loaded = open_model(model)
      read = Arguments.for(loaded.modality)
      level = options[:level]
      pairs = batches.lazy.flat_map { |batch| batch.zip(loaded.predict(batch.map(&read), level:)) }
      return pairs.each { |input, prediction| say_prediction(input, prediction) } unless options[:json]

      puts JSON.pretty_generate(pairs.map { |input, prediction| { input:, **prediction.to_h } }.to_a)
    end

    desc "evaluate MODEL DATA", "How good a model is on other labelled data"
    long_desc <<~TEXT, wrap: false
      DATA is a folder with one folder per class, or a manifest, as in training.

        transfer evaluate signs.transfer new-photos/
        transfer evaluate signs.transfer test.csv --target-column species
    TEXT
    option :input_column, banner: "A,B", desc: "A manifest's columns of inputs (as trained)"
    option :target_column, banner: "A,B", desc: "A manifest's column of labels or numbers (as trained)"
    option :on_bad_input, banner: "WORD", default: "raise", enum: %w[raise skip],
                          desc: "raise or skip: what to do about inputs that can't be read"
    trust_option
    signed_by_option
    json_option
    # Measures a model.
    def evaluate(model, data)
      loaded = open_model(model)
      metrics = loaded.evaluate(data, columns: columns(data), on_bad_input: options[:on_bad_input])
      answer(metrics) do
        nouns = Report::NOUNS.fetch(loaded.modality)
        puts Report.metrics(metrics, nouns), Report.promises(metrics)
        table = Report.per_class(metrics, nouns)
        puts "", table if table
      end
    end

    desc "embed MODEL INPUT...", "Turn photos or texts into vectors, for search and clustering"
    long_desc <<~TEXT, wrap: false
      Writes one vector per input, in the order given. The file's ending says how:
      .npy (float32, a row per input), .csv (name and numbers), or .jsonl (an object
      with input and embedding).

        transfer embed signs.transfer photos/*.jpg --output vectors.npy
        transfer embed signs.transfer a.jpg --json
    TEXT
    option :output, banner: "FILE", desc: "A .npy, .csv or .jsonl file"
    option :force, type: :boolean, desc: "Overwrite the file if it is there"
    trust_option
    signed_by_option
    json_option
    # Writes embeddings.
    def embed(model, *inputs)
      write = embeddings_writer
      inputs = each_batch(inputs).to_a.flatten
      raise Thor::Error, "standard input named no input" if inputs.empty?

      loaded = open_model(model)
      vectors = loaded.embed(inputs.map(&Arguments.for(loaded.modality)))
      write.call(inputs, vectors)
      answer(inputs.zip(vectors).map { |input, embedding| { input:, embedding: } }) do
        puts "#{vectors.size} x #{vectors.first.size} numbers in #{options[:output]}"
      end
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

    def embeddings_writer
      return Embeddings.writer(can_be_saved(:output, "vectors.npy")) if options[:output]
      return proc {} if options[:json]

      raise Thor::Error, "name a file with --output (.npy, .csv, .jsonl), or give --json"
    end

    # In batches, so that the first results appear while the last inputs are not even named yet.
    def each_batch(inputs)
      raise Thor::Error, "name at least one input, or - to read them from standard input" if inputs.empty?

      (inputs == ["-"] ? typed_lines : inputs).each_slice(BATCH)
    end

    def typed_lines
      lines = $stdin.set_encoding(Encoding::UTF_8).each_line(chomp: true).with_index(1).lazy
      lines.map { |line, number| typed_line(line, number) }.reject(&:empty?).eager
    end

    def typed_line(line, number)
      Plain.text(line)
    rescue ArgumentError => error
      raise DataError, "line #{number} of standard input: #{error.message}: convert the text, or rename the file"
    end

    def say_prediction(input, prediction)
      answers(prediction).each { |words| puts [*words, input.tr("\t\n", " ")].join("\t") }
    end

    def answers(prediction)
      return [[prediction.labels.join("|")]] if prediction.labels && !options[:top]

      around = around(prediction)
      numbers = prediction.values&.map { |pair| pair.join("=") } || [prediction.value]
      return [[*numbers, *around]] unless prediction.scores

      prediction.top(options[:top] || 1).map { |label, score| [label, format("%.4f", score), *around] }
    end

    # The set or the intervals, if a level was asked for.
    def around(prediction)
      return [prediction.set.join("|")] if prediction.set

      (prediction.intervals&.values || [prediction.interval].compact).map { |low, high| "#{low}..#{high}" }
    end
  end
end
