# frozen_string_literal: true

require_relative "embeddings"
require_relative "inputs"

module Transfer
  # Metrics and embeddings of a trained model.
  class CLI
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
      check_named(inputs)
      loaded = open_model(model)
      lines = Inputs.enum_for(:each_batch, inputs, loaded.modality).to_a.flatten
      raise Thor::Error, "standard input named no input" if lines.empty?

      wrong = lines.find(&:error)
      raise DataError, wrong.error if wrong

      inputs = lines.map(&:text)
      vectors = loaded.embed(lines.map(&:value))
      write.call(inputs, vectors)
      answer(inputs.zip(vectors).map { |input, embedding| { input:, embedding: } }) do
        puts "#{vectors.size} x #{vectors.first.size} numbers in #{options[:output]}"
      end
    end

    private

    def embeddings_writer
      return Embeddings.writer(can_be_saved(:output, "vectors.npy")) if options[:output]
      return proc {} if options[:json]

      raise Thor::Error, "name a file with --output (.npy, .csv, .jsonl), or give --json"
    end
  end
end
