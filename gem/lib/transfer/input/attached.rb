# frozen_string_literal: true

module Transfer
  module Input
    # Attachments of Active Storage, and their records in messages.
    module Attached
      MISSING = "ActiveStorage::FileNotFoundError"
      private_constant :MISSING

      class << self
        # @param record [Object] a record, or anything else
        # @return [String, nil] the name of the one file that its class has attached
        def name_in(record)
          names = names_in(record)
          names.first if names.one?
        end

        # @return [Array<String>] the names of the single files that a record's class has attached
        def names_in(record)
          return [] unless record.class.respond_to?(:reflect_on_all_attachments)

          record.class.reflect_on_all_attachments.filter_map { |one| one.name.to_s if one.macro == :has_one_attached }
        end

        # @param value [Object] a record with one attachment, an attachment, or anything else
        # @return [Object] the attachment of the record; anything else as it is
        # @raise [DataError] for an attachment without a file; `details["input"]` names its record
        def present(value)
          name = name_in(value)
          value = value.public_send(name) if name
          raise problem("no file is attached", value) if value.respond_to?(:attached?) && !value.attached?

          value
        end

        # @yieldreturn the content of an attachment
        # @raise [DataError] if the storage has lost its file
        def found(value)
          yield
        rescue StandardError => error
          raise unless error.class.ancestors.any? { |kind| kind.name == MISSING }

          raise problem("its file is missing from storage", value), cause: error
        end

        private

        def problem(reason, value)
          owner = value.respond_to?(:record) ? value.record : value
          name = [owner.class.name, (owner.id if owner.respond_to?(:id))].compact.join(" ")
          DataError.new("#{name}: #{reason}", details: { "input" => name, "reason" => reason })
        end
      end
    end
  end
end
