# frozen_string_literal: true

module Transfer
  # An immutable array of numbers with any number of dimensions, little-endian and row-major.
  #
  # @example
  #   Transfer::Tensor.from([[1, 2.5], [3, 4]])                                        # float32 2x2
  #   Transfer::Tensor.from(File.binread("x.f32"), shape: [-1, 1280])
  #   model.embed(photos, as: :tensor).to_numo
  class Tensor
    # The types of numbers.
    DTYPES = Numbers::DIRECTIVES.keys.freeze

    # @return [String] `float32`, `float64`, `int64` or `uint8`
    attr_reader :dtype
    # @return [Array<Integer>] the length of each dimension
    attr_reader :shape

    class << self
      # @param source [Array, Numeric, String, IO::Buffer, Tensor] a number, or Arrays nested once per dimension; or
      #   packed numbers, little-endian and row-major; or a `Numo::NArray` or another object that exports a
      #   MemoryView. Packed numbers are copied at most once.
      # @param dtype [String, Symbol, nil] the type of the numbers; nil: that of the source, or `float32`
      # @param shape [Array<Integer>, nil] of packed numbers; one side may be -1 and is inferred
      # @param allow_nan [Boolean] false: reject NaN and Infinity
      # @return [Tensor]
      # @raise [ArgumentError] if rows differ in length or depth, or for a value that is not a number, with its index
      def from(source, dtype: nil, shape: nil, allow_nan: true)
        tensor = Packed.read(source, dtype&.to_s, shape) if Packed.handles?(source)
        return nested(source, dtype&.to_s || "float32", shape, allow_nan) unless tensor

        Numbers.check_finite(tensor.bytes, tensor.dtype, tensor.shape) unless allow_nan
        tensor
      end

      # @param tensors [Array<Tensor>] of one dtype, with equal dimensions after the first
      # @return [Tensor] concatenated along the first dimension
      # @raise [ArgumentError] for other tensors
      def concat(tensors)
        return tensors.first if tensors.size == 1

        kinds = tensors.map { |tensor| [tensor.dtype, tensor.shape.size, tensor.shape.drop(1)] }.uniq
        dtype, dimensions, row = kinds.first
        unless kinds.one? && dimensions.positive?
          raise ArgumentError, "can't concatenate #{tensors.join(', ')}: expected one dtype and row shape"
        end

        bytes = String.new(encoding: Encoding::BINARY, capacity: tensors.sum(&:bytesize))
        tensors.each { |tensor| bytes << tensor.bytes }
        new(dtype:, shape: [tensors.sum { |tensor| tensor.shape.first }, *row], bytes:)
      end

      # @return [Array<Integer>] the valid shape
      # @raise [ArgumentError]
      # @api private
      def check(dtype, shape)
        check_dtype(dtype)
        unless shape.is_a?(Array) && shape.all? { |side| side.is_a?(Integer) && !side.negative? }
          raise ArgumentError, "the shape of a tensor is a list of sizes, got #{shape.inspect[0, 80]}"
        end

        Numbers.refuse_depth if shape.size > Numbers::DEEPEST
        Numbers.check_size(shape.map { |side| [side, 1].max }, dtype)
        shape
      end

      private

      def nested(source, dtype, shape, allow_nan)
        check_dtype(dtype)
        bytes, found = (Transfer.native? ? Native : Numbers).pack(source, dtype, allow_nan)
        raise ArgumentError, "an Array of shape #{found}, expected #{shape}" unless [nil, found].include?(shape)

        new(dtype:, shape: found, bytes:)
      end

      def check_dtype(dtype)
        return if DTYPES.include?(dtype)

        raise ArgumentError, "unknown dtype #{dtype.inspect} (one of: #{DTYPES.join(', ')})"
      end
    end

    # @param bytes [String] little-endian, row-major
    # @raise [ArgumentError] for an unknown dtype, or if bytes and shape don't match
    def initialize(dtype:, shape:, bytes:)
      Tensor.check(dtype, shape)
      size = shape.inject(Numbers::ITEM_BYTES[dtype], :*)
      raise ArgumentError, "#{dtype} #{shape} takes #{size} bytes, got #{bytes.bytesize}" if bytes.bytesize != size

      @dtype = dtype
      @shape = shape.dup.freeze
      @memory = bytes.is_a?(String) ? bytes.b.freeze : bytes
      freeze
    end

    # @return [String] the packed numbers
    def bytes = @memory.to_s

    # @return [Integer]
    def bytesize = @memory.bytesize

    # @return [Array, Numeric] nested Arrays; a number if there are no dimensions
    def to_a = (Transfer.native? ? Native : Numbers).unpack(@memory, dtype, shape)

    # @return [Numo::NArray]
    # @raise [DependencyError] without numo-narray
    def to_numo
      unless defined?(::Numo::NArray)
        raise DependencyError, 'to_numo needs numo-narray. Fix: gem install numo-narray, then require "numo/narray"'
      end

      numo = Packed::NUMO.fetch(dtype).then { |name| ::Numo.const_get(name) }
      shape.empty? ? numo.cast(to_a) : numo.from_binary(bytes, shape)
    end

    # @return [IO::Buffer] read-only, of the same memory
    def to_io_buffer = @memory.is_a?(String) ? IO::Buffer.for(@memory) : @memory.to_io_buffer

    def ==(other) = other.is_a?(Tensor) && dtype == other.dtype && shape == other.shape && bytes == other.bytes
    alias eql? ==
    def hash = [dtype, shape, bytes].hash

    def inspect = "#<#{self.class} #{dtype} #{shape.join('x')}>"
    alias to_s inspect

    # Marshal stores the bytes, also of shared memory.
    # @api private
    def marshal_dump = { dtype:, shape:, bytes: }
    # The inverse of {marshal_dump}.
    # @api private
    def marshal_load(parts) = initialize(**parts)

    # Releases shared memory before garbage collection. The tensor must not be used afterwards.
    # @api private
    def release
      @memory.release unless @memory.is_a?(String)
    end
  end

  # A tensor in the sender's shared memory.
  TensorBlock = ::Data.define(:dtype, :shape, :offset)
  private_constant :TensorBlock
end
