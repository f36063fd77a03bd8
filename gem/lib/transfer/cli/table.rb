# frozen_string_literal: true

module Transfer
  module CLI
    # Rows of cells as aligned columns: numbers to the right, everything else to the left.
    module Table
      # @param rows [Array<Array>]
      # @return [String] one line per row, each with its end
      def self.render(rows)
        columns = rows.transpose.map { |cells| align(cells.map(&:to_s)) }
        columns.transpose.map { |line| "#{line.join('  ').rstrip}\n" }.join
      end

      def self.align(cells)
        width = cells.map(&:length).max
        number = cells.last.match?(/\A[\d.,]+[kMG]?\z/)
        cells.map { |cell| number ? cell.rjust(width) : cell.ljust(width) }
      end
      private_class_method :align
    end
    private_constant :Table
  end
end
