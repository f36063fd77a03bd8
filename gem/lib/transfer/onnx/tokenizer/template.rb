# frozen_string_literal: true

module Transfer
  module Onnx
    class Tokenizer
      # Special tokens around a text or a pair: post-processors of tokenizer.json.
      class Template
        BARE = { 1 => [["A", 0]], 2 => [["A", 0], ["B", 1]] }.freeze
        private_constant :BARE

        # @param json [Hash, nil]
        # @return [Template]
        # @raise [Unsupported]
        def self.build(json)
          case json&.fetch("type")
          when nil, "ByteLevel" then new(BARE)
          when "Sequence" then Array(json["processors"]).map { |one| build(one) }.find(&:any?) || new(BARE)
          when "BertProcessing" then new(around(json, 1, 1))
          when "RobertaProcessing" then new(around(json, 0, 2))
          when "TemplateProcessing" then new({ 1 => parts(json, "single"), 2 => parts(json, "pair") })
          else raise Unsupported, "its post-processor #{json['type']}"
          end
        end

        # @param type [Integer] of the second text
        # @param separators [Integer] between the texts
        def self.around(json, type, separators)
          start, separator = %w[cls sep].map { |name| [json.fetch(name).last] }
          single = [[start, 0], ["A", 0], [separator, 0]]
          { 1 => single, 2 => [*single, *[[separator, type]] * (separators - 1), ["B", type], [separator, type]] }
        end

        def self.parts(json, kind)
          json.fetch(kind).map do |part|
            name, type = part.values.first.fetch_values("id", "type_id")
            part.key?("Sequence") ? [name, type] : [json.fetch("special_tokens").fetch(name).fetch("ids"), type]
          end
        end
        private_class_method :around, :parts

        # @param parts [Hash{Integer => Array}] by the number of texts: A, B or ids, each with its type
        def initialize(parts)
          @parts = parts
        end

        # @return [Boolean] whether it has special tokens
        def any? = added(1).positive? || added(2).positive?

        # @param texts [Integer] 1 or 2
        # @return [Integer] special tokens
        def added(texts) = @parts.fetch(texts).sum { |part, _| part.is_a?(Array) ? part.size : 0 }

        # @param texts [Array<Array<Integer>>] ids of one or two texts
        # @return [Array(Array<Integer>, Array<Integer>)] ids and types
        def apply(*texts)
          named = { "A" => texts[0], "B" => texts[1] }
          parts = @parts.fetch(texts.size).map { |part, type| [part.is_a?(Array) ? part : named.fetch(part), type] }
          [parts.flat_map(&:first), parts.flat_map { |ids, type| [type] * ids.size }]
        end
      end
    end
  end
end
