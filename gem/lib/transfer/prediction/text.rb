# frozen_string_literal: true

module Transfer
  module Prediction
    # A generated text: a translation, a summary, a correction.
    class Text < ::Data.define(:text, :score, :candidates, :placeholders)
      include Prediction

      # One of several hypotheses of a beam search.
      #
      # @!attribute [r] text
      #   @return [String]
      # @!attribute [r] score
      #   @return [Float] see {Text#score}
      Candidate = ::Data.define(:text, :score) do
        def to_s = text
      end

      # @!attribute [r] text
      #   @return [String] the best text
      # @!attribute [r] score
      #   @return [Float] the geometric mean of the probabilities of its tokens, 0 to 1
      # @!attribute [r] candidates
      #   @return [Array<Candidate>] all hypotheses of a beam search, the best first; the best alone without one

      # @!attribute [r] placeholders
      #   @return [Hash{Symbol => Array<String>}, nil] `missing` and `extra` placeholders and tags (`%{count}`, `%s`,
      #     `<b>`) of the text, compared with its source; nil if they are the same

      # @param text [String]
      # @param score [Float]
      # @param candidates [Array<Hash{String => Object}>, nil]
      # @param placeholders [Hash{String => Array<String>}, nil]
      def initialize(text:, score:, candidates: nil, placeholders: nil)
        candidates ||= [{ "text" => text, "score" => score }]
        super(text:, score:, candidates: candidates.map { |one| Candidate.new(**one.transform_keys(&:to_sym)) },
              placeholders: placeholders&.transform_keys(&:to_sym))
      end

      # @return [Array<String>] placeholders of the source that are not in the text
      def missing_placeholders = placeholders ? placeholders[:missing] : []

      # @return [Array<String>] placeholders of the text that are not in the source
      def extra_placeholders = placeholders ? placeholders[:extra] : []

      # @return [Hash{Symbol => Object}] with candidates as Hashes
      def to_h = { text:, score:, candidates: candidates.map(&:to_h), placeholders: }.compact

      def to_s = text

      private

      def summary = "#{text} #{format('%.3f', score)}"
    end
  end
end
