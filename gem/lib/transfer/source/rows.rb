# frozen_string_literal: true

module Transfer
  class Source
    # The rows of an Enumerable or of an Active Record relation, in the wire's form.
    #
    # A row is a Hash, or an object with methods of those names, for instance a record; `columns` renames them.
    class Rows
      include Enumerable

      # @param columns [Hash{String => Object}, nil] `{"input" => "photo", "target" => "species"}`
      def initialize(items, columns = nil)
        @items = items
        columns ||= {}
        @input = columns.fetch("input", "input")
        @target = columns.fetch("target", "label")
        @split = columns.fetch("split", "split")
      end

      # @yieldparam row [Hash{String => Object}]
      # @raise [DataError] for a row without an input, or with one that is neither path nor bytes
      def each
        number = 0
        visit = lambda do |item|
          number += 1
          yield wire(item, number)
        end
        @items.respond_to?(:find_each) ? @items.find_each(&visit) : @items.each(&visit)
      end

      private

      def wire(item, number)
        row = { "input" => input(item, number), "label" => label(item, number) }
        split = field(item, @split)
        split.nil? ? row : row.merge("split" => in_row(number) { Plain.text(split.to_s) })
      end

      def input(item, number)
        value = field(item, @input)
        raise DataError, "row #{number} has no #{@input}: #{item.inspect[0, 200]}" if value.nil?

        in_row(number) { Input.wire(value) }
      end

      def label(item, number)
        value = @target.is_a?(Array) ? @target.map { |name| field(item, name) } : field(item, @target)
        in_row(number, "a label is text, a number or a list of numbers; ") do
          value.is_a?(Array) ? value.map { |inner| Plain.scalar(inner) } : Plain.scalar(value)
        end
      end

      def in_row(number, expected = "")
        yield
      rescue ArgumentError, DataError => error
        raise DataError, "row #{number}: #{expected}#{error.message}"
      end

      def field(item, name)
        return item.fetch(name.to_sym) { item[name] } if item.is_a?(Hash)

        item.public_send(name) if item.respond_to?(name)
      end
    end
    private_constant :Rows
  end
end
