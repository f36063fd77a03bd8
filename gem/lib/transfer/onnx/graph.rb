# frozen_string_literal: true

require_relative "protobuf"

module Transfer
  module Onnx
    # What an ONNX file declares: inputs, outputs and metadata. The tensors must be in the file: ONNX Runtime opens the
    # external files that a tensor names.
    class Graph
      # Raised for tensors in other files.
      class External < StandardError; end

      # Per message of onnx.proto, the fields that lead to tensors, and the messages that they contain.
      GRAPH = { 1 => :node, 5 => :tensor, 15 => :sparse }.freeze
      # The same for all messages.
      LEADING = {
        model: { 7 => :outermost, 20 => :training, 25 => :function },
        training: { 1 => :graph, 2 => :graph },
        function: { 7 => :node, 11 => :attribute },
        outermost: GRAPH, graph: GRAPH,
        node: { 5 => :attribute },
        attribute: { 5 => :tensor, 6 => :graph, 10 => :tensor, 11 => :graph, 22 => :sparse, 23 => :sparse },
        sparse: { 1 => :tensor, 2 => :tensor },
        tensor: {}
      }.freeze
      # A field of the model.
      METADATA = 14
      # Of the graph.
      INPUT = 11
      OUTPUT = 12
      # Of a tensor.
      EXTERNAL_DATA = 13
      DATA_LOCATION = 14
      # Fields that are inspected: their number bounds time and memory.
      MOST_FIELDS = 5_000_000
      private_constant :LEADING, :GRAPH, :METADATA, :INPUT, :OUTPUT, :EXTERNAL_DATA, :DATA_LOCATION, :MOST_FIELDS

      # @return [Array<String>] names
      attr_reader :inputs, :outputs
      # @return [Hash{String => String}]
      attr_reader :metadata

      # @param content [String] an ONNX file
      # @raise [Protobuf::Malformed] if it is no ONNX file, or damaged
      # @raise [External]
      def initialize(content)
        @content = content
        @fields = 0
        @inputs = []
        @outputs = []
        @metadata = {}
        inspect_all
        raise Protobuf::Malformed if @outputs.empty?
      end

      private

      def inspect_all
        open = [[:model, 0...@content.bytesize]]
        while (kind, place = open.pop)
          leading = LEADING.fetch(kind)
          each_field(place) do |field, value|
            keep(kind, field, value)
            raise External if kind == :tensor && external?(field, value)

            open << [leading[field], value] if leading.key?(field) && value.is_a?(Range)
          end
        end
      end

      def keep(kind, field, value)
        case [kind, field]
        in [:model, METADATA]
          key, text = texts(value).values_at(1, 2)
          @metadata[key] = text
        in [:outermost, INPUT | OUTPUT] then (field == INPUT ? inputs : outputs) << texts(value)[1]
        else nil
        end
      end

      def external?(field, value) = field == EXTERNAL_DATA || (field == DATA_LOCATION && value != 0)

      def each_field(place, &)
        Protobuf.each_field(@content, place.begin, place.end) do |*field|
          raise Protobuf::Malformed if (@fields += 1) > MOST_FIELDS

          yield(*field)
        end
      end

      # @return [Hash{Integer => String}] the texts among the fields of a message
      def texts(place)
        raise Protobuf::Malformed unless place.is_a?(Range)

        found = {}
        each_field(place) do |field, value|
          found[field] = @content.byteslice(value).force_encoding(Encoding::UTF_8) if value.is_a?(Range) && field < 3
        end
        found
      end
    end
    private_constant :Graph
  end
end
