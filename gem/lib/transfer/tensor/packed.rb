# frozen_string_literal: true

module Transfer
  class Tensor # rubocop:disable Style/Documentation
    # Reads packed numbers: Strings, IO::Buffer, Numo::NArray, objects that export a MemoryView.
    module Packed
      NUMO = { "float32" => :SFloat, "float64" => :DFloat, "int64" => :Int64, "uint8" => :UInt8 }.freeze
      # Formats of a MemoryView on a little-endian machine.
      FORMATS = {
        nil => "uint8", "C" => "uint8", "f" => "float32", "e" => "float32", "d" => "float64", "E" => "float64",
        "q" => "int64", "q<" => "int64", "l!" => "int64", "j" => "int64"
      }.freeze

      class << self
        # rubocop:disable Style/CaseEquality -- BasicObject has no is_a?
        def handles?(source) = !(Array === source || Numeric === source || NilClass === source)
        # rubocop:enable Style/CaseEquality

        # @return [Tensor, nil] nil without packed numbers
        def read(source, dtype, shape)
          case source
          when Tensor then same_kind(source, source.dtype, dtype) { source }
          when String then tensor(source, dtype || "float32", shape || [-1])
          when IO::Buffer then tensor(source.get_string, dtype || "float32", shape || [-1])
          else numo?(source) ? numo(source, dtype) : memory_view(source, dtype, shape)
          end
        end

        private

        def tensor(bytes, dtype, shape) = Tensor.new(dtype:, shape: infer_side(shape, bytes, dtype), bytes:)

        # Replaces -1 by the side that the number of bytes requires.
        def infer_side(shape, bytes, dtype)
          return shape unless shape.is_a?(Array) && shape.count(-1) == 1

          rest = Numbers::ITEM_BYTES.fetch(dtype, 1) * shape.inject(-1, :*)
          return shape unless rest.positive?

          shape.map { |side| side == -1 ? bytes.bytesize / rest : side }
        end

        def numo?(source) = defined?(::Numo::NArray) && source.is_a?(::Numo::NArray)

        def numo(source, dtype)
          own = NUMO.key(source.class.name.delete_prefix("Numo::").to_sym)
          unless dtype || own
            raise ArgumentError, "a #{source.class} has no matching dtype. " \
                                 "Fix: give dtype: one of #{NUMO.keys.join(', ')}"
          end

          kind = NUMO.fetch(dtype || own) { raise ArgumentError, "unknown dtype #{dtype.inspect}" }
          source = ::Numo.const_get(kind).cast(source) unless own == (dtype || own)
          Tensor.new(dtype: dtype || own, shape: source.shape, bytes: source.to_binary)
        end

        def memory_view(source, dtype, shape)
          format, sides, bytes = Transfer.native? ? Native.view(source) : Views.view(source)
          return unless sides
          raise ArgumentError, "a #{source.class} that is not row-major. Fix: pass a contiguous copy" unless bytes

          own = FORMATS.fetch(format) do
            raise ArgumentError, "a #{source.class} of format #{format.inspect}, expected #{FORMATS.keys.compact}"
          end
          # Bytes are read as the given dtype.
          return tensor(bytes, dtype, shape || [-1]) if own == "uint8" && dtype

          same_kind(source, own, dtype) { tensor(bytes, own, shape || sides) }
        end

        def same_kind(source, own, asked)
          return yield if [nil, own].include?(asked)

          raise ArgumentError, "a #{source.class} of #{own}, expected #{asked}"
        end
      end
    end

    # MemoryView through Fiddle.
    module Views
      # @return [Array(String, Array<Integer>, String), nil] format, shape and bytes, as {Native} returns them
      def self.view(object)
        require "fiddle"
        view = Fiddle::MemoryView.new(object)
        begin
          sides = view.shape || [view.byte_size / view.item_size]
          [view.format, sides, (view.to_s.b if row_major?(view, sides))]
        ensure
          view.release
        end
      rescue ArgumentError, LoadError # no MemoryView; no Fiddle
        nil
      end

      def self.row_major?(view, sides)
        widths = sides.drop(1).reverse.inject([view.item_size]) { |inner, side| [inner.first * side, *inner] }
        view.strides.nil? || view.strides == widths
      end
      private_class_method :row_major?
    end
    private_constant :Packed, :Views
  end
end
