# frozen_string_literal: true

require_relative "../predicted_file"

module Transfer
  class Model
    # Predictions of whole folders, buckets and tables.
    module PredictingAll
      # Predicts every input of a folder, bucket or table into a file with a row for each, in their order. After an
      # interruption, the same call resumes with the first missing part. Memory does not grow with the number of inputs.
      #
      # @param data [String, Pathname, #each] a folder of images, a manifest (.csv, .jsonl, .parquet), the URL of one of
      #   them in a store (`s3://bucket/photos`; needs the Python package of its protocol, such as s3fs), or inputs as
      #   for {#predict}. Labels are ignored
      # @param into [String, Pathname] the file, `….parquet`, `….csv` or `….jsonl`. Its columns: `row`, from 0; `input`,
      #   a path, a text or the name of a row; those of the predictions; and `error`
      # @param part [Integer] inputs of a part, of which an interruption loses at most one
      # @param words [Hash{Symbol => Object}] `columns`, names of a manifest's columns; `level`, as for {#predict}
      # @param quiet [Boolean, nil] true: no progress; nil: as configured
      # @return [PredictedFile]
      # @raise [ConfigurationError] if the file can't be written, or another process writes it
      # @raise [DataError] if the data don't exist, or a manifest is malformed
      # @raise [DependencyError] if pyarrow, or the package for the URL, is missing
      # @example
      #   model.predict_all("new_photos/", into: "new.parquet")
      #   # => #<data Transfer::PredictedFile path=#<Pathname:new.parquet>, rows=12000, failed=3, reused=0>
      def predict_all(data, into:, part: 1000, quiet: nil, **words)
        columns, level = all_words(**words)
        wire, streams = wire_inputs(data, columns)
        params = { "data" => wire, "into" => Input.path(into.to_s), "columns" => columns, "level" => level,
                   "part" => part }.compact
        PredictedFile.parse(showing(quiet) { |show| call("predict_all", params, streams:, timeout: nil, &show) })
      end

      private

      def all_words(columns: nil, level: nil) = [wire_columns(columns), level]

      # A URL stays as it is; other data are those of a {Source}.
      def wire_inputs(data, columns)
        return [data, {}] if data.is_a?(String) && data.match?(%r{\A[a-z][a-z0-9+.-]+://}i)

        source = Source.new(rows(data), columns:, labelled: false)
        [source.wire, source.streams]
      end

      # Yields a block for the events of a call, which shows its progress.
      def showing(quiet)
        display = Display.for($stderr, quiet: quiet.nil? ? Transfer.config.quiet : quiet)
        progress = Progress.none
        yield(lambda do |plain|
          _, event = Event.parse(plain)
          display.show(event, progress = progress.after(event)) if event
        end)
      ensure
        display&.finish
      end
    end
  end
end
