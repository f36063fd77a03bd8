# frozen_string_literal: true

require_relative "protobuf"

module Transfer
  module Onnx
    # What an ONNX file declares: inputs, outputs and metadata. The tensors must be in the file: ONNX Runtime opens the
    # external files that a tensor names.
    class Graph
      # Per message of onnx.proto, the fields that lead to tensors, and the messages that they contain.
      LEADING = {
        model: { 7 => :graph, 20 => :training, 25 => :function },
        training: { 1 => :graph, 2 => :graph },
        function: { 7 => :node, 11 => :attribute },
        graph: { 1 => :node, 5 => :tensor, 15 => :sparse },
        node: { 5 => :attribute },
        attribute: { 5 => :tensor, 6 => :graph, 10 => :tensor, 11 => :graph, 22 => :sparse, 23 => :sparse },
        sparse: { 1 => :tensor, 2 => :tensor },
        tensor: {}
      }.freeze
      GRAPH, METADATA = 7, 14 # rubocop:disable Style/ParallelAssignment -- fields of the model
      INPUT, OUTPUT = 11, 12 # rubocop:disable Style/ParallelAssignment -- fields of the graph
      EXTERNAL_DATA, DATA_LOCATION = 13, 14 # rubocop:disable Style/ParallelAssignment -- fields of a tensor
      # Fields that are inspected: their number bounds time and memory.
      MOST_FIELDS = 5_000_000
      private_constant :LEADING, :GRAPH, :METADATA, :INPUT, :OUTPUT, :EXTERNAL_DATA, :DATA_LOCATION, :MOST_FIELDS

      # @return [Array<String>] names
      attr_reader :inputs, :outputs
      # @return [Hash{String => String}]
      attr_reader :metadata

      # @param content [String] an ONNX file
      # @raise [Protobuf::Malformed] if it is no ONNX file, or damaged
      # @raise [ModelFileError] if it has external tensors
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
            keep(kind, field, value, open.empty?)
            refuse_external if kind == :tensor && external?(field, value)
            open << [leading[field], value] if leading.key?(field) && value.is_a?(Range)
          end
        end
      end

      def keep(kind, field, value, outermost)
        case [kind, field]
        in [:model, METADATA]
          key, text = texts(value).values_at(1, 2)
          @metadata[key] = text
        in [:graph, INPUT | OUTPUT] if outermost then (field == INPUT ? inputs : outputs) << texts(value)[1]
        else nil
        end
      end

      def external?(field, value) = field == EXTERNAL_DATA || (field == DATA_LOCATION && value != 0)

      def refuse_external
        raise ModelFileError, "has tensors in other files, which are not read. Fix: export the model again with " \
                              "model.export, which writes one file"
      end

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
