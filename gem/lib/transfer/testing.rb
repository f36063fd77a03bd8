# frozen_string_literal: true

module Transfer
  # Predictions without Python and without a model, for the tests of an application.
  #
  # @example In a test
  #   require "transfer/testing"
  #   Transfer::Testing.fake!(photos_kind: "stop")
  #   photo.predict_kind!
  #   photo.kind   # => "stop"
  #   Transfer::Testing.reset!
  module Testing
    # A model whose predictions are given.
    class FakeModel
      # @param prediction [String, Numeric, Hash{String => Float}, #call] a label, a number, probabilities by label, or
      #   a block that gets the input and returns one of these
      def initialize(prediction)
        @prediction = prediction
      end

      # @param input (see Model#predict)
      # @return [Prediction, Array<Prediction>]
      def predict(input, **)
        return input.map { |one| prediction_of(one) } if input.is_a?(Array)

        prediction_of(input)
      end

      private

      def prediction_of(input)
        given = @prediction.respond_to?(:call) ? @prediction.call(input) : @prediction
        case given
        when Numeric then Prediction.parse({ "value" => given.to_f })
        when Hash then classification(given.to_h { |label, score| [label.to_s, score.to_f] })
        when String, Symbol then classification({ given.to_s => 1.0 })
        else
          raise ArgumentError, "a fake prediction is a label, a number or probabilities by label, got #{given.inspect}"
        end
      end

      def classification(scores)
        scores = scores.sort_by { |_, score| -score }.to_h
        label, score = scores.first
        Prediction.parse({ "label" => label, "score" => score, "scores" => scores })
      end
    end

    class << self
      # Makes models of `has_prediction` predict as given, until {reset!}.
      # @param models [Hash{Symbol => Object}] by name, see {FakeModel#initialize}
      def fake!(models)
        @fakes = (@fakes || {}).merge(models.to_h { |name, prediction| [name.to_s, FakeModel.new(prediction)] })
      end

      # Ends {fake!}.
      def reset! = @fakes = nil

      # @api private
      # @return [FakeModel, nil]
      def fake(name) = @fakes && @fakes[name]
    end
  end
end
