# frozen_string_literal: true

require "digest"

module Transfer
  module Rails
    # The input of a record for its prediction: an attached file, a text, or a row of columns.
    class PredictedInput
      # The file of an attachment is not there yet, or was purged.
      class Missing < Error; end

      # @param record [ActiveRecord::Base]
      # @param from [Symbol, Array<Symbol>]
      def initialize(record, from)
        @record = record
        @from = from
      end

      # @return [Object] for {Transfer::Model#predict}
      # @raise [Missing] if nothing is attached, or the text is nil
      def value
        return @from.to_h { |column| [column.to_s, @record.public_send(column)] } if row?

        value = @record.public_send(@from)
        missing = attachment?(value) ? !value.attached? : value.nil?
        raise Missing, "there is no #{@from}" if missing

        value
      end

      # @return [String, nil] digest of the content; nil for an empty input
      def digest
        return Digest::SHA256.hexdigest(@from.map { |column| @record.public_send(column) }.to_json) if row?

        value = @record.public_send(@from)
        return (value.blob.checksum if value.attached?) if attachment?(value)

        value && Digest::SHA256.hexdigest(value.to_s)
      end

      private

      def row? = @from.is_a?(Array)
      def attachment?(value) = value.respond_to?(:attached?)
    end
  end
end
