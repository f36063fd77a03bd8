# frozen_string_literal: true

module Transfer
  # What a model says about one input.
  #
  # A classification has {#label}, {#score} and {#scores}; a model of labels {#labels} and {#scores}; a regression has
  # {#value} or, with several outputs, {#values}. With a level there is {#set}, {#interval} or {#intervals} besides.
  # The others are nil.
  class Prediction
    # @return [String, nil] the most probable label; of a model of labels the most probable of those that it says
    attr_reader :label
    # @return [Float, nil] its probability
    attr_reader :score
    # @return [Hash{String => Float}, nil] the probability of every label, highest first
    attr_reader :scores
    # @return [Array<String>, nil] the labels whose probability reaches their threshold, highest first; may be empty
    attr_reader :labels
    # @return [Float, nil] the number, of a regression with one output
    attr_reader :value
    # @return [Hash{String => Float}, nil] the numbers by name, of a regression with several outputs
    attr_reader :values
    # @return [Array<String>, nil] the classes among which the true one is as often as the level says, highest first
    attr_reader :set
    # @return [Array(Float, Float), nil] between which the true number is as often as the level says
    attr_reader :interval
    # @return [Hash{String => Array(Float, Float)}, nil] the same by name, of a regression with several outputs
    attr_reader :intervals

    # @param plain [Hash{String => Object}] as the worker sends it
    def initialize(plain)
      @label = plain["label"]
      @score = plain["score"]
      @scores = plain["scores"]
      @labels = plain["labels"]
      @value = plain["value"]
      @values = plain["values"]
      @set = plain["set"]
      @interval = plain["interval"]
      @intervals = plain["intervals"]
      @label, @score = scores.find { |name, _| labels.include?(name) } if labels
      [@label, @scores, @labels, @values, @set, @interval, @intervals].each(&:freeze)
      freeze
    end

    # @return [Boolean] true; false of a {BadInput}
    def ok? = true

    # @return [Boolean] false; true of a {BadInput}
    def failed? = false

    # @return [nil] the error of a {BadInput}
    def error = nil

    # @return [Hash{String => Float}] the `count` most probable labels
    def top(count) = (scores || {}).first(count).to_h

    # @return [Hash{Symbol => Object}] what the worker sent
    def to_h
      one = labels ? {} : { label:, score: }
      { **one, labels:, scores:, value:, values:, set:, interval:, intervals: }.compact
    end

    # @return [Hash{String => Object}] {#to_h} with text as keys, as Rails wants it
    def as_json(*) = to_h.transform_keys(&:to_s)

    # @return [String] the same JSON in plain Ruby and in Rails
    def to_json(*)
      require "json"
      as_json.to_json(*)
    end

    def ==(other) = other.is_a?(Prediction) && to_h == other.to_h
    alias eql? ==
    def hash = to_h.hash

    def to_s = (labels&.join(", ") || label || value || values).to_s

    def inspect
      "#<Transfer::Prediction #{scores ? scored : (value || values).inspect}>"
    end

    private

    def scored
      said = (labels || [label]).map { |name| "#{name} #{format('%.3f', scores[name])}" }
      said.empty? ? "no label" : said.join(", ")
    end
  end
end
