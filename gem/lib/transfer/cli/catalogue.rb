# frozen_string_literal: true

module Transfer
  module CLI
    # Backbones as lines of text.
    module Catalogue
      # Width of the list in columns of a terminal.
      WIDEST = 100
      # Number of backbones without --all.
      FIRST = 30
      UNKNOWN = "unknown"
      ORDERS = {
        "relevance" => nil, # as they come
        "name" => :name,
        "parameters" => :parameters,
        "metric" => ->(backbone) { -(backbone[:metric_value] || 0) }
      }.freeze
      COLUMNS = {
        "backbone" => :name.to_proc,
        "size" => ->(backbone) { format("%.1fM", backbone.parameters / 1e6) },
        "metric" => ->(backbone) { backbone[:metric_value]&.then { |value| format("%.1f", value) } },
        "for size" => ->(backbone) { backbone[:relevance]&.then { |value| format("%+.1f", value) } },
        "images/s" => ->(backbone) { backbone[:images_per_second]&.then { |value| format("%.0f", value) } },
        "licence" => ->(backbone) { shortened(backbone.license, 16) },
        "arXiv" => ->(backbone) { backbone[:arxiv] }
      }.freeze
      NUMBERS = ["size", "metric", "for size", "images/s"].freeze
      # Left out in this order where the width does not suffice.
      LESSER = ["arXiv", "for size", "images/s"].freeze
      MEANING = {
        "for size" => "for size: compared with the usual metric for as many parameters",
        "images/s" => "images/s: on a core of this machine, measured by a training"
      }.freeze

      class << self
        # @param backbones [Array<Backbone>] as `Transfer.backbones` gives them
        # @param order [String] a key of `ORDERS`
        # @return [Array<Backbone>]
        def sort(backbones, order) = ORDERS.fetch(order)&.then { |key| backbones.sort_by(&key) } || backbones

        # @return [String] the beginning of a text
        def shortened(text, most) = text.size > most ? "#{text[0, most - 1]}…" : text

        # @return [Array<String>] a line per backbone, and the meaning of the columns
        def table(backbones, most)
          shown = backbones.first(most)
          columns = COLUMNS.to_h { |title, fact| [title, column(title, shown.map(&fact))] }.compact
          LESSER.each { |title| columns.delete(title) if width(columns) > WIDEST }
          lines = columns.values.transpose.map { |cells| cells.join("  ").rstrip }
          [*lines, "", *meaning(shown, columns.keys), *more(backbones.size - shown.size)]
        end

        # @param backbone [Backbone] with weights and blocks
        # @param listed [Backbone, nil] its entry in the list
        # @return [Array<String>] all facts about one backbone
        def page(backbone, listed)
          facts = %i[name source family modality].map { |fact| [fact.to_s, backbone[fact]] }
          facts += [["input size", input_size(backbone)], ["embedding width", backbone.embedding_width],
                    ["parameters", backbone.parameters], *(listed ? measured(listed) : []),
                    ["paper", paper(backbone)], ["code", "#{backbone[:code_url]} (#{backbone[:code_license]})"]]
          header = ["weights", "licence", "top-1", "trained on", "from"]
          [Table.render(facts.reject { |_, fact| [nil, 0].include?(fact) }),
           "#{backbone.blocks.size} #{backbone.blocks.one? ? 'block' : 'blocks'}:", *wrapped(backbone.blocks), "",
           Table.render([header, *weights(backbone)]), *terms(backbone)]
        end

        private

        # The cells of a column, all of one width; nil if all are empty.
        def column(title, cells)
          return if cells.none?

          cells = [title, *cells.map { |cell| cell.to_s.empty? ? UNKNOWN : cell }]
          width = cells.map(&:size).max
          cells.map { |cell| NUMBERS.include?(title) ? cell.rjust(width) : cell.ljust(width) }
        end

        def width(columns) = columns.values.sum { |cells| cells.first.size + 2 } - 2

        def meaning(backbones, titles)
          metrics = backbones.map { |backbone| backbone[:metric] }.uniq - [""]
          speed = "images/s: unknown until a training on this machine measures it"
          [("metric: #{metrics.join('; ')}" if metrics.any?), *MEANING.slice(*titles).values,
           (speed unless titles.include?("images/s"))].compact
        end

        def more(count)
          return [] unless count.positive?

          ["#{count} more: --all shows them; --task, --max-parameters, --license, --source filter"]
        end

        def wrapped(words)
          words.join(", ").scan(/\S.{0,#{WIDEST - 4}}(?:,|\z)/).map { |line| "  #{line}" }
        end

        def input_size(backbone)
          return backbone[:max_length]&.then { |tokens| "#{tokens} tokens" } if backbone[:modality] == "text"

          default = backbone.weights.find { |weights| weights[:name] == backbone[:default] }
          default&.dig(:preprocessing, :crop_size)&.then { |side| "#{side} x #{side} pixels" }
        end

        # The numbers of the list, with their meaning.
        def measured(listed)
          metric, relevance, speed = ["metric", "for size", "images/s"].map { |title| COLUMNS[title].call(listed) }
          [["metric", metric && "#{metric} (#{listed[:metric]}), with #{listed[:weights]}"],
           ["for size", relevance && "#{relevance} compared with the usual metric for as many parameters"],
           ["images/s", speed && "#{speed} on a core of this machine"]]
        end

        def terms(backbone)
          found = backbone.weights.map { |weights| weights[:terms] }.uniq - ["", nil]
          found.map { |text| "terms: #{text}" }
        end

        def paper(backbone)
          title, arxiv = backbone.to_h.values_at(:paper, :arxiv)
          found = [title, ("arXiv:#{arxiv}" unless arxiv.empty?)].compact.reject(&:empty?)
          found.empty? ? UNKNOWN : found.join(", ")
        end

        def weights(backbone)
          backbone.weights.map do |weights|
            top1, hub, file = weights.values_at(:top1, :hub, :file)
            origin = hub.to_s.empty? ? file : hub
            [weights[:name], weights[:license], top1 ? format("%.1f", top1) : UNKNOWN, weights[:trained_on], origin]
          end
        end
      end
    end
    private_constant :Catalogue
  end
end
