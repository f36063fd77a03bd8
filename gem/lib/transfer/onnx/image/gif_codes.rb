# frozen_string_literal: true

module Transfer
  module Onnx
    module Image
      # The compression of GIF files: LZW with codes of growing width.
      class GifCodes
        MOST_BITS = 12
        private_constant :MOST_BITS

        # @param start_bits [Integer] of an index
        # @raise [Unreadable]
        def initialize(start_bits)
          raise Unreadable, "it is damaged, with codes of #{start_bits} bits" unless start_bits.between?(1, 11)

          @start_bits = start_bits
          @clear = 1 << start_bits
          reset
        end

        # @param data [String]
        # @param size [Integer] enough indices
        # @return [String] indices; those of truncated data are fewer
        # @raise [Unreadable]
        def decode(data, size)
          result = String.new(encoding: Encoding::BINARY, capacity: size)
          each_code(data) do |code|
            break if code == @clear + 1 || result.bytesize >= size

            code == @clear ? reset : result << entry(code)
          end
          result
        end

        private

        def reset
          @entries = Array.new(@clear) { |i| (i & 255).chr } + [nil, nil]
          @bits = @start_bits + 1
          @before = nil
        end

        def each_code(data)
          kept = kept_bits = 0
          data.each_byte do |byte|
            kept |= byte << kept_bits
            kept_bits += 8
            while kept_bits >= @bits
              code = kept & ((1 << @bits) - 1)
              kept >>= @bits
              kept_bits -= @bits
              yield code
            end
          end
        end

        def entry(code)
          found = @entries[code] || (@before && code == @entries.size ? @before + @before[0] : nil)
          raise Unreadable, "it is damaged" unless found

          @entries << (@before + found[0]) if @before && @entries.size < (1 << MOST_BITS)
          @bits += 1 if @entries.size == (1 << @bits) && @bits < MOST_BITS
          @before = found
        end
      end
      private_constant :GifCodes
    end
  end
end
