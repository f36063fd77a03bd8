# frozen_string_literal: true

require_relative "runtime"

module Transfer
  module Onnx # rubocop:disable Style/Documentation
    # An array of an input or output: its type, its shape, and packed numbers or a flat Array of texts.
    Value = ::Data.define(:type, :shape, :data) do
      # @return [Array<Numeric>] flat
      def to_a = data.unpack("#{Session::TYPES.fetch(type).last}*")
    end

    # A graph that is ready to run; several threads may run it at the same time. It belongs to the process that created
    # it: ONNX Runtime's threads don't survive a fork.
    class Session
      # By name: number in ONNX, bytes, directive of `Array#pack`.
      TYPES = { float32: [1, 4, "e"], uint8: [2, 1, "C"], int64: [7, 8, "q<"], string: [8, 0, nil], bool: [9, 1, "C"],
                float64: [11, 8, "E"], int32: [6, 4, "l<"] }.freeze
      # Settings, against other files, custom operators and busy waiting.
      CONFIG = { "session.load_model_format" => "ONNX", "session.intra_op.allow_spinning" => "0" }.freeze
      private_constant :CONFIG

      # @param content [String] an ONNX file
      # @param threads [Integer] that share an operator
      # @raise [Runtime::Failure] if ONNX Runtime can't load it
      # @raise [DependencyError] without ONNX Runtime
      def initialize(content, threads: 1)
        @runtime = Runtime.instance
        @pid = Process.pid
        # As many runs at a time as cores: more would take more memory, and no less time.
        @turns = Thread::Queue.new(Array.new(threads, true))
        Runtime.while_unlocked { @address = create(content, threads) }
        ObjectSpace.define_finalizer(self, self.class.releaser(@runtime, @address, @pid))
      end

      # @return [Proc] a finalizer, which holds no reference to the session
      def self.releaser(runtime, address, pid)
        proc { runtime.release(:session, address) if Process.pid == pid }
      end

      # @return [Boolean] whether the session can be used in this process
      def usable? = @pid == Process.pid

      # @param inputs [Hash{String => Value}]
      # @param outputs [Array<String>] names
      # @return [Hash{String => Value}]
      # @raise [Runtime::Failure]
      def run(inputs, outputs)
        kept = [] # the memory that ONNX Runtime reads
        values = inputs.values.map { |value| tensor(value, kept) }
        results = [0] * outputs.size
        found = memory(results.pack("J*"), kept)
        in_turn(names(inputs.keys, kept), memory(values.pack("J*"), kept), values.size, names(outputs, kept),
                outputs.size, found)
        results = found[0, outputs.size * Fiddle::SIZEOF_VOIDP].unpack("J*")
        outputs.zip(results.map { |address| read(address) }).to_h
      ensure
        [*values, *results].each { |address| @runtime.release(:value, address) unless address.zero? }
      end

      private

      def in_turn(*arguments)
        turn = @turns.pop
        @runtime.call(:run, @address, nil, *arguments)
      ensure
        @turns << turn if turn
      end

      def create(content, threads)
        options = @runtime.out { |out| @runtime.call(:create_options, out) }
        # Photos of any size: memory is planned for each run, and returned after it.
        @runtime.call(:disable_memory_pattern, options)
        @runtime.call(:disable_arena, options)
        @runtime.call(:set_intra_op_threads, options, threads)
        CONFIG.each { |name, value| @runtime.call(:set_config, options, name, value) }
        @runtime.out { |out| @runtime.call(:create_session, @runtime.env, content, content.bytesize, options, out) }
      ensure
        @runtime.release(:options, options) if options
      end

      def tensor(value, kept)
        shape = memory(value.shape.pack("q<*"), kept)
        type, = TYPES.fetch(value.type)
        return strings(value, shape, kept) if value.type == :string

        data = memory(value.data, kept)
        @runtime.out do |out|
          @runtime.call(:wrap_tensor, @runtime.memory_info, data, value.data.bytesize, shape, value.shape.size, type,
                        out)
        end
      end

      def strings(value, shape, kept)
        type, = TYPES.fetch(:string)
        address = @runtime.out do |out|
          @runtime.call(:create_tensor, @runtime.allocator, shape, value.shape.size, type, out)
        end
        @runtime.call(:fill_strings, address, names(value.data, kept), value.data.size)
        address
      end

      # @return [Fiddle::Pointer] to pointers to texts that end with NUL
      def names(texts, kept)
        memory(texts.map { |text| memory("#{text}\0".b, kept).to_i }.pack("J*"), kept)
      end

      def memory(bytes, kept)
        Fiddle::Pointer[bytes].tap { |pointer| kept << pointer }
      end

      def read(address)
        shape, type = description(address)
        width = TYPES.fetch(type)[1]
        bytes = shape.inject(width, :*)
        data = @runtime.out { |out| @runtime.call(:tensor_data, address, out) }
        Value.new(type:, shape:, data: bytes.zero? ? "".b : Fiddle::Pointer.new(data)[0, bytes])
      end

      # @return [Array(Array<Integer>, Symbol)] shape and type
      def description(address)
        info = @runtime.out { |out| @runtime.call(:type_and_shape, address, out) }
        number = @runtime.out { |out| @runtime.call(:element_type, info, out) } & 0xffffffff
        type, = TYPES.find { |_, (each, _)| each == number }
        raise Runtime::Failure, "an output has the type #{number}" if type.nil? || type == :string

        count = @runtime.out { |out| @runtime.call(:dimension_count, info, out) }
        sides = Fiddle::Pointer[("\0" * [8 * count, 1].max).b]
        @runtime.call(:dimensions, info, sides, count)
        [sides[0, 8 * count].unpack("q<*"), type]
      ensure
        @runtime.release(:type_and_shape, info) if info
      end
    end
    private_constant :Value, :Session
  end
end
