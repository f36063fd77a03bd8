# frozen_string_literal: true

module Transfer
  module Input
    # A row of a table: names and cells.
    module Row
      INPUTS = "an input is a row: a Hash of columns, or a record"
      private_constant :INPUTS

      class << self
        # @param value [Hash, #attributes, #to_hash, Struct, Data] `{ age: 42, city: "Ulm" }`, an Active Record, a row
        #   of a CSV
        # @return [Hash{String => Object}] cells as text, numbers, booleans or nil; times in ISO 8601
        # @raise [ArgumentError] for anything else
        def wire(value)
          cells = Input.named(value)
          raise ArgumentError, "#{INPUTS}, got #{value.class}" unless cells.is_a?(Hash)

          cells.to_h { |name, cell| [Plain.text(name.to_s), cell(name, cell)] }
        end

        private

        def cell(name, value)
          value = value.iso8601 if value.respond_to?(:iso8601)
          Plain.scalar(value)
        rescue ArgumentError => error
          shown = Plain.excerpt(name.to_s)
          raise ArgumentError, "#{shown}: a cell is text, a number, true, false, a time or nil; #{error.message}"
        end
      end
    end
    private_constant :Row
  end
end
