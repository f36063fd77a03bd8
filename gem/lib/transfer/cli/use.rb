# frozen_string_literal: true

require_relative "embeddings"

module Transfer
  # What a trained model can do.
  class CLI
    # Photos that go to the worker at once: results of a long list appear while it works.
    BATCH = 64
    private_constant :BATCH

    desc "predict MODEL PHOTO...", "What is on these photos"
    long_desc <<~TEXT, wrap: false
      Prints a line per photo: label, score (0 to 1) and file with tabs between them;
      of a regression the number and the file.

        transfer predict signs.transfer a.jpg b.jpg
        transfer predict signs.transfer --top 3 a.jpg
        find photos -name '*.jpg' | transfer predict signs.transfer -
        transfer predict signs.transfer --json a.jpg
    TEXT
    option :top, type: :numeric, default: 1, desc: "How many labels per photo"
    json_option
    # Predicts photos.
    def predict(model, *photos)
      batches = each_batch(photos)
      loaded = Transfer.load(model)
      pairs = batches.lazy.flat_map { |batch| batch.zip(loaded.predict(batch)) }
      return pairs.each { |photo, prediction| say_prediction(photo, prediction) } unless options[:json]

      puts JSON.pretty_generate(pairs.map { |input, prediction| { input:, **prediction.to_h } }.to_a)
    end

    desc "evaluate MODEL DATA", "How good a model is on labelled photos"
    long_desc <<~TEXT, wrap: false
      DATA is a folder with one folder per class, or a manifest, as in training.

        transfer evaluate signs.transfer new-photos/
        transfer evaluate signs.transfer test.csv --target-column species
    TEXT
    option :input_column, banner: "NAME", desc: "A manifest's column of files (path)"
    option :target_column, banner: "A,B", desc: "A manifest's column of labels or numbers (label)"
    option :on_bad_input, banner: "WORD", default: "raise", enum: %w[raise skip],
                          desc: "raise or skip: what to do about files that are no images"
    json_option
    # Measures a model.
    def evaluate(model, data)
      metrics = Transfer.load(model).evaluate(data, columns:, on_bad_input: options[:on_bad_input])
      answer(metrics) do
        puts Report.metrics(metrics, "photos")
        puts "", Report.per_class(metrics[:per_class]) if metrics[:per_class]
      end
    end

    desc "embed MODEL PHOTO...", "Turn photos into vectors, for search and clustering"
    long_desc <<~TEXT, wrap: false
      Writes one vector per photo, in the order given. Its ending says how:
      .npy (float32, a row per photo), .csv (name and numbers), or .jsonl (an object
      with input and embedding).

        transfer embed signs.transfer photos/*.jpg --output vectors.npy
        transfer embed signs.transfer a.jpg --json
    TEXT
    option :output, banner: "FILE", desc: "A .npy, .csv or .jsonl file"
    json_option
    # Writes embeddings.
    def embed(model, *photos)
      write = embeddings_writer
      photos = each_batch(photos).to_a.flatten
      raise Thor::Error, "standard input named no photo" if photos.empty?

      vectors = Transfer.load(model).embed(photos)
      write.call(photos, vectors)
      answer(photos.zip(vectors).map { |input, embedding| { input:, embedding: } }) do
        puts "#{vectors.size} x #{vectors.first.size} numbers in #{options[:output]}"
      end
    end

    private

    def embeddings_writer
      return Embeddings.writer(options[:output]) if options[:output]
      return proc {} if options[:json]

      raise Thor::Error, "name a file with --output (.npy, .csv, .jsonl), or give --json"
    end

    # In batches, so that the first results appear while the last photos are not even named yet.
    def each_batch(photos)
      raise Thor::Error, "name at least one photo, or - to read names from standard input" if photos.empty?

      names = photos == ["-"] ? $stdin.each_line(chomp: true).lazy.reject(&:empty?).eager : photos
      names.each_slice(BATCH)
    end

    def say_prediction(photo, prediction)
      answers = prediction.top(options[:top]).map { |label, score| [label, format("%.4f", score)] }
      answers = [prediction.values&.map { |pair| pair.join("=") } || [prediction.value]] unless prediction.label
      answers.each { |words| puts [*words, photo].join("\t") }
    end
  end
end
