# frozen_string_literal: true

# A BasicObject has no `is_a?`.
# rubocop:disable Style/CaseEquality
module Transfer
  # Conversion of nested Arrays to packed little-endian numbers and back. {Native} does the same faster, byte for byte,
  # and delegates everything that is not a plain Float or Integer, so that every error message exists once.
  module Numbers
    # Directives of `Array#pack`.
    DIRECTIVES = { "float32" => "e", "float64" => "E", "int64" => "q<", "uint8" => "C" }.freeze
    ITEM_BYTES = { "float32" => 4, "float64" => 8, "int64" => 8, "uint8" => 1 }.freeze
    FLOATS = %w[float32 float64].freeze
    RANGES = { "int64" => -(2**63)...(2**63), "uint8" => 0..255 }.freeze
    # Larger values become infinite.
    LARGEST_FLOAT32 = (2.0**128) - (2.0**104)
    DEEPEST = 32
    MAX_BYTES = 2**36

    class << self
      # @param array [Array, Numeric]
      # @return [Array(String, Array<Integer>)] bytes and shape
      # @raise [ArgumentError]
      def pack(array, dtype, allow_nan)
        shape = shape_of(array)
        check_size(shape, dtype)
        return [[number(array, dtype, allow_nan, [])].pack(DIRECTIVES[dtype]), shape] if shape.empty?

        bytes = String.new(encoding: Encoding::BINARY)
        pack_row(array, shape, dtype, allow_nan, []) { |part| bytes << part }
        [bytes, shape]
      end

      # @param bytes [String, Native::Mapping]
      # @return [Array, Numeric]
      def unpack(bytes, dtype, shape)
        flat = bytes.to_s.unpack("#{DIRECTIVES[dtype]}*")
        return flat.first if shape.empty?

        counts = shape.inject([1]) { |before, side| before << (before.last * side) }
        counts[1...-1].zip(shape.drop(1)).reverse.inject(flat) do |rows, (count, width)|
          width.zero? ? Array.new(count) { [] } : rows.each_slice(width).to_a
        end
      end

      # The public methods below are used by {Native} as well.

      # @return [Float, Integer] the stored value of a number
      # @raise [ArgumentError] for anything else, with its indices
      def number(item, dtype, allow_nan, place)
        refuse "#{word(item)}#{at(place)}, expected a number: rows differ in depth" if Array === item
        refuse "#{word(item)}#{at(place)}, expected a number" unless Numeric === item && item.real?

        FLOATS.include?(dtype) ? float(item, dtype, allow_nan, place) : integer(item, dtype, place)
      end

      def refuse_row(item, expected, place)
        refuse "#{word(item)}#{at(place)}, expected an Array of #{expected}: rows differ in depth" unless Array === item
        refuse "a row of #{item.size}#{at(place)}, expected #{expected}: rows differ in length"
      end

      def refuse_change = refuse("an Array was changed while its numbers were read")

      def refuse_depth = refuse("more than #{DEEPEST} dimensions")

      def check_size(shape, dtype)
        bytes = shape.inject(ITEM_BYTES[dtype], :*)
        return if bytes <= MAX_BYTES

        refuse "#{dtype} of #{shape.join(' x ')} takes #{bytes} bytes, at most #{MAX_BYTES} are allowed"
      end

      # @raise [ArgumentError] for the first NaN or Infinity
      def check_finite(bytes, dtype, shape)
        return unless FLOATS.include?(dtype)

        flat = bytes.unpack("#{DIRECTIVES[dtype]}*")
        index = flat.index { |value| !value.finite? } or return
        rest = index
        place = []
        shape.reverse_each do |side|
          rest, here = rest.divmod(side)
          place.unshift(here)
        end
        number(flat[index], dtype, false, place)
      end

      private

      def shape_of(array)
        shape = []
        level = array
        while Array === level
          refuse_depth if shape.size == DEEPEST
          shape << level.size
          break if level.empty?

          level = level.first
        end
        shape
      end

      def pack_row(row, shape, dtype, allow_nan, place, &)
        return yield(pack_numbers(row, dtype, allow_nan, place)) if shape.size == place.size + 1

        each_unchanged(row) do |item, i|
          inner = [*place, i]
          refuse_row(item, shape[inner.size], inner) unless Array === item && item.size == shape[inner.size]
          pack_row(item, shape, dtype, allow_nan, inner, &)
        end
      end

      def pack_numbers(row, dtype, allow_nan, place)
        return row.pack("#{DIRECTIVES[dtype]}*") if plain?(row, dtype, allow_nan)

        numbers = []
        each_unchanged(row) { |item, i| numbers << number(item, dtype, allow_nan, [*place, i]) }
        numbers.pack("#{DIRECTIVES[dtype]}*")
      end

      def plain?(row, dtype, allow_nan)
        return row.all?(Integer) && row.all?(RANGES[dtype]) unless FLOATS.include?(dtype)

        row.all?(Float) && (allow_nan || row.all? { |value| finite?(value, dtype) })
      end

      # The conversion of a number may change the Array that contains it.
      def each_unchanged(row)
        size = row.size
        size.times do |i|
          refuse_change unless row.size == size
          yield row[i], i
        end
      end

      def float(item, dtype, allow_nan, place)
        value = item.to_f
        refuse "#{word(item)}#{at(place)}, expected a number: its to_f returns no Float" unless Float === value
        return value if allow_nan || finite?(value, dtype)

        refuse "#{word(item)}#{at(place)}, expected a finite number#{" of #{dtype}" if value.finite?}"
      end

      def finite?(value, dtype) = dtype == "float32" ? value.abs <= LARGEST_FLOAT32 : value.finite?

      def integer(item, dtype, place)
        whole = item.to_i if item.finite?
        exact = Integer === whole && item == whole
        refuse "#{word(item)}#{at(place)}, expected a whole number for #{dtype}" unless exact
        refuse "#{word(item)}#{at(place)} does not fit #{dtype}" unless RANGES[dtype].cover?(whole)

        whole
      end

      def at(place) = place.empty? ? "" : " at #{place.inspect}"

      def word(item)
        case item
        when nil, true, false, String, Symbol, Integer, Float, Rational, Complex then item.inspect[0, 40]
        else
          name = Kernel.instance_method(:class).bind_call(item).name || "an object"
          name.match?(/\A[AEIOU]/) ? "an #{name}" : "a #{name}"
        end
      end

      def refuse(message) = raise(ArgumentError, "can't create a tensor: #{message}")
    end
  end
  private_constant :Numbers
end
# rubocop:enable Style/CaseEquality
