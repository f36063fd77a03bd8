# frozen_string_literal: true

module Transfer
  class CLI < Thor
    # Rows of cells as aligned columns: numbers to the right, everything else to the left.
    module Table
      # @param rows [Array<Array>]
      # @param header [Array<String>, nil]
      # @return [String] one line per row
      def self.render(rows, header: nil)
        lines = [header, *rows].compact.map { |row| row.map(&:to_s) }
        widths = lines.transpose.map { |column| column.map(&:length).max }
        right = rows.transpose.map { |column| column.all? { |cell| cell.to_s.match?(/\A[\d.,]+( ?[%kMG]?B?)?\z/) } }
        lines.map do |line|
          line.each_with_index.map { |cell, i| right[i] ? cell.rjust(widths[i]) : cell.ljust(widths[i]) }.join("  ").rstrip
        end.join("\n")
      end
    end
    private_constant :Table
  end
end
