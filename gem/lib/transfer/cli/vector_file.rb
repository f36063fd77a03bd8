# frozen_string_literal: true

require "json"
require_relative "../replacement"

module Transfer
  module CLI
    # Files of vectors.
    module VectorFile
      class << self
        # @param path [String] its ending chooses the format
        # @return [Proc] takes the names and the vectors, writes the file
        # @raise [ConfigurationError] for another ending
        def writer(path)
          formats = { ".npy" => :npy, ".csv" => :csv, ".jsonl" => :jsonl }
          format = formats.fetch(File.extname(path)) do
            raise ConfigurationError, "#{path} must end in one of #{formats.keys.join(', ')}"
          end
          ->(names, vectors) { Replacement.write(path, send(format, names, vectors)) }
        end

        # @return [String] a JSON object with input and embedding per line
        def jsonl(names, vectors)
          names.zip(vectors).map { |input, embedding| "#{JSON.generate({ input:, embedding: })}\n" }.join
        end

        private

        # NumPy's format 1.0: magic, version, length of the header, header padded to 64 bytes, little-endian rows.
        def npy(_names, vectors)
          shape = "(#{vectors.size}, #{vectors.first.size})"
          header = "{'descr': '<f4', 'fortran_order': False, 'shape': #{shape}, }"
          header = "#{header.ljust(((header.size + 11).ceildiv(64) * 64) - 11)}\n"
          ["\x93NUMPY\x01\x00".b, [header.size].pack("v"), header, vectors.flatten.pack("e*")].join
        end

        def csv(names, vectors)
          rows = names.zip(vectors).map { |name, vector| [%("#{name.gsub('"', '""')}"), *vector] }
          [["input", *0...vectors.first.size], *rows].map { |row| "#{row.join(',')}\n" }.join
        end
      end
    end
    private_constant :VectorFile
  end
end
