# frozen_string_literal: true

require_relative "session"

module Transfer
  module Onnx
    # Rows of a table as the input of a graph.
    class Rows
      # Texts that mean a missing number.
      NOTHING = ["na", "n/a", "nan", "null", "nil", "none", "-", "--", "?", ""].freeze
      NUMBER = /\A[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?\z/i
      # Defaults of the limits.
      MOST_COLUMNS = 16_384
      MOST_CHARACTERS = 1_000_000
      private_constant :NOTHING, :NUMBER, :MOST_COLUMNS, :MOST_CHARACTERS

      # @param file [ExportedFile]
      # @raise [Description::Invalid]
      def initialize(file)
        columns = file.description.columns
        @names = columns.map { |column| column["name"] }
        @numbers, @categories = %w[number category].map do |type|
          columns.filter_map { |column| column["name"] if column["type"] == type }
        end
      end

      # @param input [Hash{String => Object}] cells by column; other columns are ignored
      # @param name [String] in messages
      # @return [Hash{String => Value}]
      # @raise [DataError]
      def read(input, name)
        check(input, name)
        numbers = @numbers.map { |column| number(input[column], column, name) }
        categories = @categories.map { |column| category(input[column], column, name) }
        found = {}
        found["numbers"] = Value.new(:float64, [1, numbers.size], numbers.pack("E*")) if numbers.any?
        found["categories"] = Value.new(:string, [1, categories.size], categories) if categories.any?
        found
      end

      private

      def check(input, name)
        columns = Transfer.config.max_columns || MOST_COLUMNS
        if input.size > columns
          raise DataError,
                "#{name}: #{excess("its #{input.size} columns", :max_columns, columns)}"
        end

        missing = @names.reject { |column| input.key?(column) }
        return if missing.empty?

        raise DataError, "#{name}: has no #{listed(missing)} (expected: #{listed(@names)})"
      end

      def listed(names)
        shown = names.first(10).map { |name| "\"#{Plain.printable(name)}\"" }.join(", ")
        names.size > 10 ? "#{shown} and #{names.size - 10} more" : shown
      end

      def number(cell, column, name)
        value = case cell
                when nil then Float::NAN
                when String then of_text(cell)
                when Numeric then finite(cell.to_f, cell, column, name)
                end
        return value if value

        shown = Plain.brief(cell).delete('"')
        raise DataError, "#{name}: #{Plain.printable(column)} is \"#{shown}\", but held numbers in training " \
                         "(fix or remove it, or use on_bad_input: :skip)"
      end

      def of_text(cell)
        text = cell.gsub(/\A[[:space:]]+|[[:space:]]+\z/, "")
        return Float::NAN if NOTHING.include?(text.downcase)

        value = text.to_f if text.match?(NUMBER)
        value if value&.finite?
      end

      def finite(value, cell, column, name)
        return value unless value.infinite?

        raise DataError,
              "#{name}: #{Plain.printable(column)} is #{cell}, expected a finite number. Fix: leave it empty (nil)"
      end

      # The same text whatever the format of the data.
      def category(cell, column, name)
        case cell
        when nil then ""
        when Float then cell.nan? ? "" : of_float(finite(cell, cell, column, name))
        when String then of_category(cell, name)
        else cell.to_s
        end
      end

      def of_category(text, name)
        most = Transfer.config.max_text_length || MOST_CHARACTERS
        if text.size > most
          raise DataError, "#{name}: #{excess("the #{text.size} characters of a cell", :max_text_length, most)}"
        end

        # ONNX Runtime's texts end with NUL.
        text.unicode_normalize(:nfc).gsub(/\A[[:space:]]+|[[:space:]]+\z/, "").tr("\0", "\ufffd")
      end

      # As Python writes it.
      def of_float(value) = (value % 1).zero? ? value.to_i.to_s : value.to_s.sub(".0e", "e")

      def excess(described, limit, allowed)
        "#{described} are more than #{limit} = #{allowed}. Fix: raise Transfer.config.#{limit} " \
          "(TRANSFER_#{limit.upcase}), or use a smaller input"
      end
    end
  end
end
