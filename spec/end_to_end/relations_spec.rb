# frozen_string_literal: true

require "csv"

# Distillation, label maps and soups from Ruby and the command line, on tables that need no network.
RSpec.describe "Relations", :end_to_end do
  backbone = "sklearn:StandardScaler"

  def table(name, count, random, names)
    path = "#{@scratch}/#{name}.csv"
    CSV.open(path, "w") do |csv|
      csv << %w[x y label]
      count.times do |i|
        side = i % 2
        csv << [(side * 2) + random.rand, side + random.rand, names[side]]
      end
    end
    path
  end

  it "distills, pairs labels and averages models" do
    random = Random.new(1)
    few, many, more = [12, 80, 60].zip(%w[few many more]).map { |count, name| table(name, count, random, %w[a b]) }
    teachers = [0, 1].map { |seed| Transfer.train(backbone:, data: many, seed:, quiet: true) }
    student = Transfer.train(backbone:, data: { train: few, test: more }, quiet: true) do
      distill from: teachers.first, relation: [:kd], strength: 0.9
      unlabelled [{ input: { x: 0.5, y: 0.5 } }, { input: { x: 2.5, y: 1.5 } }]
    end
    expect(student.metrics[:accuracy]).to be > 0.9
    expect(student.recipe[:distill]).to include(relation: ["kd"], strength: 0.9)
    expect(student.predict({ x: 2.5, y: 1.5 }).label).to eq("b")

    other = table("other", 40, random, %w[b2 a2].reverse)
    map = Transfer.map_labels(other, more, backbone:, quiet: true)
    expect(map.names).to eq("a2" => "a", "b2" => "b")

    soup = Transfer.soup(teachers, data: more, method: :uniform, quiet: true)
    expect(soup.metrics[:accuracy]).to be > 0.9
    expect(soup.history.map { |entry| entry[:step] }).to eq(%w[soup soup])
    expect { Transfer.soup(teachers.take(1), data: more, quiet: true) }
      .to raise_error(Transfer::ConfigurationError, /two models or more/)
    expect { Transfer.train(backbone:, data: few, distill: "/no.transfer", quiet: true) }
      .to raise_error(Transfer::RecipeError, %r{from: there is no saved model /no\.transfer})
  end
end
