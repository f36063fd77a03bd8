# frozen_string_literal: true

module Transfer
  # The nearest known name to a wrong one.
  module Suggestion
    class << self
      # @return [String, nil]
      def nearest(word, known)
        require "did_you_mean"
        DidYouMean::SpellChecker.new(dictionary: known.map(&:to_s)).correct(word.to_s).first
      end

      # @return [String] `unknown event "epcoh", did you mean "epoch"? (one of: run, stage, …)`
      def unknown(what, word, known)
        near = nearest(word, known)
        "unknown #{what} \"#{word}\"#{", did you mean \"#{near}\"?" if near} (one of: #{known.join(', ')})"
      end
    end
  end
  private_constant :Suggestion
end
