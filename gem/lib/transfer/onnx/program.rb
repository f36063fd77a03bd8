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
      # Both are of ONNX 1.13.
      IR_VERSION = 8
      OPSET = 18
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
        attributes = attributes.map do |key, value|
          value.is_a?(Array) ? { 1 => key.to_s, 8 => value, 20 => 7 } : { 1 => key.to_s, 3 => value, 20 => 2 }
        end
        @nodes << { 1 => inputs, 2 => name, 4 => operator, 5 => attributes }
        name
      end

      # @param type [Symbol] of the numbers
      # @param numbers [Array<Integer>]
      # @param shape [Array<Integer>]
      # @return [String] the name of a constant
      def constant(type, numbers, shape = [numbers.size])
        name = "c#{@constants.size}"
        number, _, directive = Session::TYPES.fetch(type)
        @constants << { 1 => shape, 2 => number, 8 => name, 9 => numbers.pack("#{directive}*") }
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

      def model
        sides = Array.new(@rank) { |i| { 2 => "side#{i}" } }
        type, = Session::TYPES.fetch(:uint8)
        input = { 1 => INPUT, 2 => { 1 => { 1 => type, 2 => { 1 => sides } } } }
        graph = { 1 => @nodes, 2 => "program", 5 => @constants, 11 => input, 12 => { 1 => @output } }
        Protobuf.message(1 => IR_VERSION, 8 => { 2 => OPSET }, 7 => graph)
      end
    end
    private_constant :Program
  end
end
