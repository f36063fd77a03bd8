# frozen_string_literal: true

module Transfer
  module Rails
    # The prediction for a record: `pending`, `accepted`, `abstained`, `stale` after the input has changed, or `failed`.
    class Prediction < Record
      STATES = %w[pending accepted abstained stale failed].freeze

      belongs_to :record, polymorphic: true
      belongs_to :version, optional: true
      has_many :feedback, class_name: "Transfer::Rails::Feedback", dependent: :delete_all

      validates :state, inclusion: STATES

      STATES.each { |name| define_method(:"#{name}?") { state == name } }

      # From this novelty on, an input is unlike the training examples.
      NOVEL = 0.95

      # Predictions that wait for a person's label: those of novel inputs first, then the least certain ones.
      scope :to_review, lambda {
        known = Arel::Nodes::Case.new.when(arel_table[:novelty].gteq(NOVEL)).then(0).else(1)
        where(state: "abstained").order(known, :score, :id)
      }

      # @return [Hash{String => Float}] probability of every class, highest first
      def scores = output&.fetch("scores", nil) || {}
    end
  end
end
