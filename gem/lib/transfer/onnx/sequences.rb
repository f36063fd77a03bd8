# frozen_string_literal: true

require_relative "texts"

module Transfer
  module Onnx
    # Texts as tokens of an encoder-decoder, and its tokens as texts.
    class Sequences < Texts
      FILES = %w[source_tokenizer.json target_tokenizer.json pieces.json].freeze
      # Tokens of a sequence and around it.
      LONGEST = 1_000_000
      MOST_AROUND = 8
      private_constant :FILES, :LONGEST, :MOST_AROUND

      # @param file [ExportedFile]
      # @raise [Description::Invalid]
      def initialize(file) # rubocop:disable Lint/MissingSuper
        text = file.description.text
        @paired = false
        @longest = Description.check(text["max_length"], "text.max_length", Integer) do |size|
          size.between?(1, LONGEST)
        end
        @prefix = Description.check(text["prefix"], "text.prefix", String)
        @unknown = Description.check(text["unknown"], "text.unknown", Integer)
        @before, @after = %w[before after].map do |name|
          Description.check(text[name], "text.#{name}", Array) { |ids| ids.size <= MOST_AROUND && ids.all?(Integer) }
        end
        read_files(file.files.slice(*FILES))
      end

      # (see Texts#read)
      def read(input, name)
        check(input, name)
        ids = [*@before, *ids("#{@prefix}#{input}")].first([@longest - @after.size, 0].max) + @after
        { "input_ids" => int64([1, ids.size], ids) }
      rescue Regexp::TimeoutError
        raise DataError, "#{name}: dividing the text into tokens took too long", cause: nil
      end

      # @param outputs [Hash{String => Array<Numeric>}] of one text
      # @return [Hash{String => Object}] a plain prediction (docs/reference/protocol.md)
      def prediction(outputs)
        { "text" => text(outputs["tokens"]), "score" => outputs["score"].first }
      end

      private

      def read_files(files)
        source, target, pieces = files.values_at(*FILES)
        @source = Tokenizer.new(Description.check(source, FILES.first, String), LONGEST)
        @target = target ? Tokenizer.new(target, LONGEST) : @source
        @pieces = pieces && Description.check(JSON.parse(pieces), FILES.last, Hash) { |all| all.values.all?(Integer) }
        @names = @pieces&.invert
        @target.text([])
      rescue Tokenizer::Unsupported => error
        raise Description::Invalid, "its tokenizer can't be used without Python: #{error.message}"
      rescue JSON::ParserError
        raise Description::Invalid, "its #{FILES.last} is damaged"
      end

      def ids(text) = @pieces ? @source.pieces(text).map { |one| @pieces[one] || @unknown } : @source.bare_ids(text)

      def text(tokens)
        tokens = tokens.filter_map { |token| @names[token] && @target.id_of(@names[token]) } if @names
        @target.text(tokens).strip
      end
    end
  end
end
