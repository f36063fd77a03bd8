# frozen_string_literal: true

module Transfer
  class Source
    # The rows of an Enumerable or of an Active Record relation, in the wire's form.
    #
    # A row is a Hash, an object with methods of the columns' names such as a record, or a pair of input and label. In
    # place of a label it may have `boxes`, a list of rows with `label`, `x`, `y`, `width` and `height`.
    # `columns` renames them; the file of a record with one attachment needs no name.
    class Rows
      BOXES = "boxes"
      SIDES = %w[label x y width height].freeze
      # Names of image files, and bytes that a path has at most.
      IMAGE = /\.(?:jpe?g|png|gif|webp|bmp|tiff?)\z/i
      LONGEST = 4096
      private_constant :BOXES, :SIDES, :IMAGE, :LONGEST

      # @param columns [Hash{String => Object}, nil] `{"input" => "photo", "target" => "species", "group" => "camera"}`
      # @param group [Array(String, Proc), Array(String, nil), nil] name of the group, and the block that returns it
      # @param labelled [Boolean] whether each row must have a label
      def initialize(items, columns = nil, group = nil, labelled = true) # rubocop:disable Style/OptionalBooleanParameter
        @items = items
        @labelled = labelled
        columns = {} unless columns.is_a?(Hash) # rejected by the core
        @input = columns["input"]
        @target = columns.fetch("target", "label")
        @split = columns.fetch("split", "split")
        @subgroup = columns["group"]
        @group, @grouping = group
      end

      # @param modality [String] of the backbone: image, text or table; auto: that of the first row
      # @yieldparam row [Hash{String => Object}]
      # @raise [DataError] for a row without an input or a label, or with one of another kind; an unreadable
      #   input is sent as its problem
      def each(modality)
        number = 0
        visit = lambda do |item|
          number += 1
          modality = kind(item) if modality == "auto"
          yield wire(item, number, modality)
        end
        @items.respond_to?(:find_each) ? @items.find_each(&visit) : @items.each(&visit)
      end

      private

      def wire(item, number, modality)
        item = item.to_hash if defined?(CSV::Row) && item.is_a?(CSV::Row) # its methods are not its columns
        row = { **input(item, number, modality), **answer(item, number) }
        split = field(item, @split)
        row["split"] = in_row(number) { Plain.text(split.to_s) } unless split.nil?
        row[@group] = group(item, number) if @group
        row[@subgroup] ||= subgroup(item, number) if @subgroup
        row
      end

      def group(item, number)
        value = @grouping ? @grouping.call(item) : field(item, @group)
        in_row(number, "a group is text, a number or nil; ") { Plain.scalar(value) }
      end

      # The group by which metrics are compared.
      def subgroup(item, number)
        value = field(item, @subgroup) unless pair?(item)
        in_row(number, "a group is text, a number or nil; ") { Plain.scalar(value) }
      end

      # The modality of a row: cells, a text or two, or else an image.
      def kind(item)
        value = value(item)
        texts = value.is_a?(Array) ? value : [value]
        return "table" if value.nil? || value.is_a?(Hash) || texts.size > 2 || texts.any?(Numeric)

        texts.size == 2 || text?(value) ? "text" : "image"
      end

      def text?(value)
        return false unless value.is_a?(String) && value.encoding != Encoding::BINARY

        !value.match?(IMAGE) && !(value.bytesize < LONGEST && !value.include?("\0") && File.file?(value))
      end

      # The input, or the problem of an unreadable one, which the core handles according to `on_bad_input`.
      def input(item, number, modality)
        value = modality == "table" ? cells(item) : value(item)
        raise DataError, "row #{number} has no #{@input || 'input'}: #{Hint.for(item)}" if value.nil?

        readable(number) { { "input" => Input.wire(value, modality) } }
      end

      def readable(number)
        yield
      rescue ArgumentError => error
        raise DataError, "row #{number}: #{error.message}"
      rescue DataError => error
        { "problem" => error.details.fetch("reason", error.message).scrub,
          "name" => error.details.fetch("input", "row #{number}") }
      end

      def value(item)
        return item.first if pair?(item)
        return field(item, @input || "input") || of_pair(item, "source") || attached(item) unless @input.is_a?(Array)

        values = @input.map { |name| field(item, name) }
        values.one? ? values.first : values
      end

      # The cells of the columns in `columns`, or else of `input`, or else of all that are neither target nor split.
      def cells(item)
        return Array(@input).to_h { |name| [name, field(item, name)] } if @input

        others = [*Array(@target), @split, @group, @subgroup]
        field(item, "input") || Input.named(item)&.transform_keys(&:to_s)&.except(*others)
      end

      # The file of a record that has one, where no column was named.
      def attached(item)
        name = Input::Attached.name_in(item) unless @input
        field(item, name) if name
      end

      def pair?(item) = item.is_a?(Array) && item.size == 2

      # The label, or the boxes of a row that has these instead.
      def answer(item, number)
        boxes = field(item, BOXES) if !pair?(item) && boxes_instead?(item)
        return { "label" => label(item, number) } if boxes.nil?
        raise DataError, "row #{number}: boxes is #{boxes.class}, expected a list" unless boxes.respond_to?(:map)

        { BOXES => boxes.map { |box| box(box, number) } }
      end

      def boxes_instead?(item)
        names = Input.named(item)&.keys&.map(&:to_s) || []
        return names.include?(BOXES) unless item.respond_to?(BOXES)

        @target == "label" && !names.include?("label") && !item.respond_to?("label")
      end

      # Whatever is missing or of another kind is reported by the core, with the number of the box.
      def box(box, number)
        in_row(number, "a box is { label:, x:, y:, width:, height: }; ") do
          given = box.is_a?(Hash) ? box.transform_keys(&:to_s) : SIDES.to_h { |name| [name, field(box, name)] }
          given.transform_values { |value| Plain.scalar(value) }
        end
      end

      def label(item, number)
        return in_row(number) { Plain.scalar(item.last) } if pair?(item)

        value = @target.is_a?(Array) ? @target.map { |name| field(item, name) } : field(item, @target)
        value = of_pair(item, "target") if value.nil?
        return if value.nil? && !@labelled
        raise DataError, "row #{number} has no #{@target}: #{Hint.for(item)}" if value.nil?

        in_row(number, "a label is text, a number or a list of these; ") do
          value.is_a?(Array) ? value.map { |inner| Plain.scalar(inner) } : Plain.scalar(value)
        end
      end

      # Pairs of texts have words of their own where no column was named.
      def of_pair(item, word)
        field(item, word) if item.is_a?(Hash) && @input.nil? && @target == "label"
      end

      def in_row(number, expected = "")
        yield
      rescue ArgumentError, DataError => error
        raise DataError, "row #{number}: #{expected}#{error.message}"
      end

      def field(item, name)
        return item.fetch(name.to_sym) { item[name] } if item.is_a?(Hash)

        return item.public_send(name) if item.respond_to?(name)

        field(item.to_hash, name) if item.respond_to?(:to_hash)
      end
    end
    private_constant :Rows
  end
end
