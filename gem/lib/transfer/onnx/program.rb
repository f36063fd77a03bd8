# frozen_string_literal: true

require_relative "protobuf"
require_relative "session"

module Transfer
  module Onnx
    # A small graph that is written here, from one array of bytes to another.
    #
    # @example Rows in reverse order
    #   Program.new(3) { |program, image| program.apply("Slice", image, *program.int64([-1], [-9999], [0], [-1])) }
    class Program
      IR_VERSION, OPSET = 8, 18 # rubocop:disable Style/ParallelAssignment -- both are of ONNX 1.13
      INPUT = "input"
      private_constant :IR_VERSION, :OPSET, :INPUT

      # @param rank [Integer] dimensions of the input
      # @yieldparam program [Program]
      # @yieldparam input [String] name of the uint8 array
      # @yieldreturn [String] name of the result
      def initialize(rank)
        @nodes = []
        @constants = []
        @rank = rank
        @output = yield(self, INPUT)
        @mutex = Mutex.new
      end

      # @param operator [String]
      # @param inputs [Array<String>] names
      # @param attributes [Hash{Symbol => Integer, Array<Integer>}]
      # @return [String] the name of the output
      def apply(operator, *inputs, **attributes)
        name = "n#{@nodes.size}"
        parts = [*inputs.map { |input| field(1, input) }, field(2, name), field(4, operator)]
        @nodes << [*parts, *attributes.map { |key, value| field(5, attribute(key.to_s, value)) }].join
        name
      end

      # @param type [Symbol] of the numbers
      # @param numbers [Array<Integer>]
      # @param shape [Array<Integer>]
      # @return [String] the name of a constant
      def constant(type, numbers, shape = [numbers.size])
        name = "c#{@constants.size}"
        number, _, directive = Session::TYPES.fetch(type)
        sides = shape.map { |side| field(1, side) }
        @constants << [*sides, field(2, number), field(8, name), field(9, numbers.pack("#{directive}*"))].join
        name
      end

      # @param lists [Array<Array<Integer>>]
      # @return [Array<String>] the name of a constant for each
      def int64(*lists) = lists.map { |list| constant(:int64, list) }

      # @param bytes [String] packed
      # @param shape [Array<Integer>]
      # @return [Value] uint8
      def call(bytes, shape)
        session = @mutex.synchronize { @session = @session&.usable? ? @session : Session.new(model) }
        session.run({ INPUT => Value.new(:uint8, shape, bytes) }, [@output])[@output]
      end

      private

      def field(...) = Protobuf.field(...)

      def attribute(name, value)
        list = value.is_a?(Array)
        values = Array(value).map { |number| field(list ? 8 : 3, number) }
        [field(1, name), *values, field(20, list ? 7 : 2)].join
      end

      def model
        graph = [*@nodes.map { |node| field(1, node) }, field(2, "program"), *@constants.map { |one| field(5, one) },
                 field(11, declaration(INPUT, @rank)), field(12, field(1, @output))].join
        field(1, IR_VERSION) + field(8, field(2, OPSET)) + field(7, graph)
      end

      def declaration(name, rank)
        number, = Session::TYPES.fetch(:uint8)
        sides = Array.new(rank) { |i| field(1, field(2, "side#{i}")) }.join
        field(1, name) + field(2, field(1, field(1, number) + field(2, sides)))
      end
    end
    private_constant :Program
  end
end
