# frozen_string_literal: true

module Transfer
  module CLI
    # Metrics by group as lines of text.
    module GroupReport
      # Of more groups, only the worst and the best are listed.
      LISTED = 8
      private_constant :LISTED

      class << self
        # @param groups [Hash{Symbol => Object}, nil] `metrics[:groups]`
        # @return [Array<String>] a line per group, and the gap between the worst and the best
        def lines(groups)
          return [] unless groups

          value = ->(number) { groups[:metric] == "mae" ? format("%.4g", number) : Report.percent(number) }
          name = groups[:metric].tr("_", " ")
          [*listed(groups).map { |one| "Group #{one[:group]}: #{name} #{one_group(one, value)}" }, *gap(groups, value)]
        end

        private

        def listed(groups)
          extremes = groups.values_at(:worst, :best)
          shown = groups[:per_group]
          shown.size > LISTED ? shown.select { |one| extremes.include?(one[:group]) } : shown
        end

        def one_group(one, value)
          low, high = one[:interval].map { |bound| value[bound] }
          "#{value[one[:value]]} (95 % interval #{low} to #{high}) on #{one[:examples]}"
        end

        def gap(groups, value)
          return [] unless groups[:gap]

          low, high = groups[:gap_interval].map { |bound| value[bound] }
          ["Worst group #{groups[:worst]}, best #{groups[:best]}: gap #{value[groups[:gap]]} " \
           "(95 % interval #{low} to #{high}), p = #{format('%.2g', groups[:p_value])}"]
        end
      end
    end
    private_constant :GroupReport
  end
end
