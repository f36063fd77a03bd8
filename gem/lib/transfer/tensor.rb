# frozen_string_literal: true

module Transfer
  # Numbers in a block of memory, as the worker sends them: `bytes` is little-endian and row-major.
  class Tensor < ::Data.define(:dtype, :shape, :bytes)
    # How `Array#pack` writes each type of numbers.
    DIRECTIVES = { "float32" => "e", "float64" => "E", "int64" => "q<", "uint8" => "C" }.freeze

    # @param array [Array, Numeric] numbers, nested as deep as the tensor has dimensions, all rows of one length
    # @param dtype [String] `float32`, `float64`, `int64` or `uint8`
    # @return [Tensor]
    def self.from_array(array, dtype: "float32")
      shape = []
      level = array
      while level.is_a?(Array)
        shape << level.size
        level = level.first
      end
      new(dtype:, shape:, bytes: [array].flatten.pack("#{DIRECTIVES.fetch(dtype)}*"))
    end

    # @raise [ProtocolError] if there is no such type of numbers, or if the bytes don't fit the shape
    def initialize(dtype:, shape:, bytes:)
      unless DIRECTIVES.key?(dtype)
        raise ProtocolError, "unknown dtype #{dtype.inspect} (one of: #{DIRECTIVES.keys.join(', ')})"
      end
      unless shape.is_a?(Array) && shape.all? { |side| side.is_a?(Integer) && !side.negative? }
        raise ProtocolError, "the shape of a tensor is a list of sizes, got #{shape.inspect}"
      end

      size = shape.inject([0].pack(DIRECTIVES[dtype]).bytesize, :*)
      raise ProtocolError, "#{dtype} #{shape} takes #{size} bytes, got #{bytes.bytesize}" if bytes.bytesize != size

      super
    end

    # @return [Array, Numeric] nested Arrays; for no dimensions a number
    def to_a
      flat = bytes.unpack("#{DIRECTIVES[dtype]}*")
      return flat.first if shape.empty?
      return flat if shape.size == 1 || flat.empty?

      shape.drop(1).reverse.inject(flat) { |rows, width| rows.each_slice(width).to_a }
    end

    def inspect = "#<Transfer::Tensor #{dtype} #{shape.join('x')}>"
    alias to_s inspect
  end

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
