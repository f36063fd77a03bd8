# frozen_string_literal: true

module Transfer
  module Input
    # One of several inputs: the value as it was given, and its form on the wire, or the error of an unreadable one.
    Entry = ::Data.define(:value, :number, :wire, :error)

    # Inputs in batches small enough for one message each. A batch is read when it is needed, an IO with it.
    class Batches
      include Enumerable

      # @return [Integer, nil] the number of inputs, nil where it is not known before the end
      attr_reader :count

      # @param values [#each]
      # @param modality [String] of the backbone: image, text or table
      # @param size [Integer] most inputs of a batch
      # @param first [Integer] most inputs of the first batch; each batch after it may have twice as many
      def initialize(values, modality, size: BATCH_SIZE, first: size)
        @values = values
        @modality = modality
        @size = size
        @first = first
        @count = values.size if values.is_a?(Array)
      end

      # @yieldparam batch [Array<Entry>]
      def each
        batch = []
        bytes = 0
        most = @first
        hand_over = lambda do
          yield batch if batch.any?
          batch = []
          bytes = 0
          most = [2 * most, @size].min
        end
        each_entry do |entry|
          weight = Input.weight(entry.wire)
          hand_over.call if bytes + weight > BATCH_BYTES
          batch << entry
          bytes += weight
          hand_over.call if batch.size >= most
        end
        hand_over.call
      end

      # @param message [String] from the worker, which counts the inputs of a message
      # @param sent [Array<Entry>] the inputs of that message
      # @return [String] the same, counted among all inputs
      def recount(message, sent)
        place = PLACE.match(message) or return message
        "#{name(sent[(place[:number] || 1).to_i - 1].number)}: #{place.post_match}"
      end

      private

      def each_entry
        number = 0
        @values.each { |value| yield entry(value, number += 1) }
      end

      def entry(value, number)
        Entry.new(value, number, Input.wire(value, @modality), nil)
      rescue ArgumentError, DataError => error
        Entry.new(value, number, nil, named(error, number))
      end

      def named(error, number)
        named = count == 1 || (error.is_a?(DataError) && error.details.key?("input"))
        named ? error : error.exception("#{name(number)}: #{error.message}")
      end

      def name(number)
        one = @modality == "table" ? "row" : @modality
        return "the #{one}" if count == 1

        "#{one} #{number}#{" of #{count}" if count}"
      end
    end
  end
end
