# frozen_string_literal: true

require_relative "value_object"

module Transfer
  # Facts about a pretrained network, available before it is loaded. `Transfer.backbones` lists the most important ones;
  # the rest is requested when it is first needed.
  class Backbone
    include ValueObject

    # Facts of `Transfer.backbone` that the list lacks.
    OF_ONE = %i[blocks default backbone_parameters code_license trainable plain max_length positions].freeze
    private_constant :OF_ONE

    # @return [Hash{Symbol => Object}] the facts so far; see docs/reference/backbones.md
    attr_reader :to_h

    # @param facts [Hash{String => Object}] as the worker sends them
    # @api private
    def initialize(facts)
      @to_h = Plain.symbolize(facts)
    end

    # @return [String]
    def name = to_h.fetch(:name)

    # @return [Array<String>] the names that `freeze` and `unfreeze` take, from the photo to the embedding
    def blocks = details.fetch(:blocks)

    # @return [Integer] of the published model
    def parameters = to_h.fetch(:parameters)

    # @return [Integer] numbers of an embedding
    def embedding_width = to_h[:embedding_width] || details.fetch(:embedding_width)

    # @return [Array<Hash{Symbol => Object}>] the published weights: name, licence, source, accuracy …
    def weights = details.fetch(:weights)

    # @return [String] of its weights, of the preferred ones if there are several; or "unknown"
    def license = to_h[:license] || preferred_weights.fetch(:license)

    # @param fact [Symbol]
    # @return [Object, nil] another fact, such as `backbone[:family]`; nil for an unknown one
    def [](fact)
      return license if fact == :license

      to_h.fetch(fact) { details[fact] if OF_ONE.include?(fact) }
    end

    # Compared by name, however many facts were requested so far.
    def ==(other) = other.is_a?(Backbone) && name == other.name
    alias eql? ==
    def hash = name.hash

    def to_s = name

    def inspect
      measured = to_h[:metric_value] && ", #{to_h[:metric]} #{to_h[:metric_value]}"
      "#<#{self.class} #{name}: #{(parameters / 1e6).round(1)}M parameters#{measured}>"
    end

    private

    def details
      @details ||= to_h.key?(:blocks) ? to_h : Transfer.backbone(name).to_h
    end

    def preferred_weights = weights.find { |published| published[:name] == details[:default] }
  end
end
