# frozen_string_literal: true

require_relative "../vector_file"
require_relative "../inputs"

module Transfer
  module CLI
    class Root
      desc "embed MODEL INPUT...", "Compute embeddings of images or texts"
      long_desc <<~TEXT
        Writes a vector per input, in the order given, for search and clustering. The
        file's ending chooses the format: .npy (float32, a row per input), .csv (input
        and numbers) or .jsonl (an object with input and embedding).

          transfer embed signs.transfer photos/*.jpg --output vectors.npy
          find photos -name '*.jpg' | transfer embed signs.transfer --json -
      TEXT
      option :output, banner: "FILE", desc: "Write this .npy, .csv or .jsonl file"
      shared_options :force, :trust, :signed_by
      option :json, type: :boolean, desc: "Print a JSON object per line, errors included"
      def embed(model, *inputs)
        write = embeddings_writer
        check_named(inputs)
        loaded = open_model(model)
        lines = Inputs.enum_for(:each_group, inputs, loaded.modality).to_a.flatten
        raise Thor::Error, "standard input has no inputs" if lines.empty?

        wrong = lines.find(&:error)
        raise DataError, wrong.error if wrong

        write.call(lines.map(&:text), loaded.embed(lines.map(&:value)))
      end

      private

      # @return [Proc] takes the names and the vectors
      def embeddings_writer
        return ->(names, vectors) { puts VectorFile.jsonl(names, vectors) } if options[:json] && !options[:output]
        raise Thor::Error, "name a file with --output (.npy, .csv, .jsonl), or give --json" unless options[:output]

        file = output_file(:output, "vectors.npy")
        write = VectorFile.writer(file)
        lambda do |names, vectors|
          write.call(names, vectors)
          output({ file:, inputs: vectors.size, width: vectors.first.size }) do
            "#{vectors.size} x #{vectors.first.size} numbers in #{file}"
          end
        end
      end
    end
  end
end
