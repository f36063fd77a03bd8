# frozen_string_literal: true

module Transfer
  module Rails
    # A record with a label. `split` is nil until the examples are divided, then `train` or `test`.
    class Example < Record
      belongs_to :model
      belongs_to :record, polymorphic: true

      scope :training, -> { where(split: "train") }
      scope :held_out, -> { where(split: "test") }

      # Adds an example or changes its label. The label of a held-out example stays: the new one is kept as
      # `proposed_label` until {Model#divide_again!}.
      #
      # @param model [Model]
      # @param record [ActiveRecord::Base]
      # @param label [String]
      # @param digest [String] of the input
      # @return [Example]
      def self.put(model, record, label, digest)
        example = model.examples.find_or_initialize_by(record:)
        if example.split == "test"
          example.update!(proposed_label: (label unless label == example.label))
        else
          example.update!(label:, digest:, split: example.split || ("train" if model.divided_at))
        end
        example
      end
    end
  end
end
