# frozen_string_literal: true

module Transfer
  # Numbers in a block of memory, as the worker sends them: `bytes` is little-endian and row-major.
  Tensor = ::Data.define(:dtype, :shape, :bytes) do
    # @param array [Array] numbers, nested as deep as the tensor has dimensions, all rows of one length
    # @param dtype [String] `float32`, `float64`, `int64` or `uint8`
    # @return [Tensor]
    def self.from_array(array, dtype: "float32")
      shape = []
      level = array
      while level.is_a?(Array)
        shape << level.size
        level = level.first
      end
      new(dtype:, shape:, bytes: [array].flatten.pack("#{directive(dtype)}*"))
    end

    # @return [String] the letter by which `Array#pack` knows the type
    # @raise [ProtocolError] if there is no such type
    def self.directive(dtype)
      self::DIRECTIVES.fetch(dtype) do
        raise ProtocolError, "unknown dtype #{dtype.inspect} (one of: #{self::DIRECTIVES.keys.join(', ')})"
      end
    end

    def initialize(dtype:, shape:, bytes:)
      width = [0].pack(self.class.directive(dtype)).bytesize
      unless shape.is_a?(Array) && shape.all? { |side| side.is_a?(Integer) && !side.negative? }
        raise ProtocolError, "the shape of a tensor is a list of sizes, got #{shape.inspect}"
      end
      unless bytes.bytesize == shape.inject(width, :*)
        raise ProtocolError, "#{dtype} #{shape} takes #{shape.inject(width, :*)} bytes, got #{bytes.bytesize}"
      end

      super
    end

    # @return [Array, Numeric] nested Arrays; for no dimensions a number
    def to_a
      flat = bytes.unpack("#{self.class.directive(dtype)}*")
      return flat.first if shape.empty?
      return flat if shape.size == 1 || flat.empty?

      shape.drop(1).reverse.inject(flat) { |rows, width| rows.each_slice(width).to_a }
    end

    def inspect = "#<Transfer::Tensor #{dtype} #{shape.join('x')}>"
    alias_method :to_s, :inspect
  end

  # The letters of `Array#pack`.
  Tensor::DIRECTIVES = { "float32" => "e", "float64" => "E", "int64" => "q<", "uint8" => "C" }.freeze

  # A big tensor travels as a file, which belongs to the receiver.
  TensorFile = ::Data.define(:dtype, :shape, :path) do
    # @return [Tensor] the content; the file is deleted
    def take
      bytes = File.binread(path)
      File.unlink(path)
      Tensor.new(dtype:, shape:, bytes:)
    rescue Errno::ENOENT
      raise ProtocolError, "the file of a tensor is not there: #{path}"
    end
  end
  private_constant :TensorFile
end
