# frozen_string_literal: true

module Transfer
  module Onnx
    module Image
      # The filters of PNG's rows (RFC 2083, section 6), in Ruby; {Native} does the same faster.
      module PngFilters
        # By number, the prediction of a byte from those to its left, above it, and above the left one.
        PREDICTIONS = [
          nil,
          ->(left, _, _) { left },
          ->(_, above, _) { above },
          ->(left, above, _) { (left + above) / 2 },
          ->(left, above, corner) { [left, above, corner].min_by { |byte| (left + above - corner - byte).abs } }
        ].freeze
        private_constant :PREDICTIONS

        # @param rows [String] each begins with its filter
        # @param size [Integer] bytes of a row without it
        # @param pixel [Integer] bytes of a pixel, at least 1
        # @return [String, nil] nil for an unknown filter
        def self.unfilter(rows, size, pixel)
          above = [0] * size
          result = Array.new(rows.bytesize / (size + 1)) do |y|
            filter, *row = rows.byteslice(y * (size + 1), size + 1).unpack("C*")
            break unless filter < PREDICTIONS.size

            predict(row, above, pixel, PREDICTIONS[filter]) if filter.positive?
            (above = row).pack("C*")
          end
          result&.join
        end

        def self.predict(row, above, pixel, prediction)
          row.each_index do |i|
            left, corner = i < pixel ? [0, 0] : [row[i - pixel], above[i - pixel]]
            row[i] = (row[i] + prediction.call(left, above[i], corner)) & 255
          end
        end
        private_class_method :predict
      end
      private_constant :PngFilters
    end
  end
end
