# frozen_string_literal: true

RSpec.describe "Explanations", :end_to_end do
  let(:rows) { "#{@scratch}/rows.csv" }

  before do
    random = Random.new(1)
    lines = Array.new(90) { |i| [(i % 3) + random.rand, random.rand, %w[low middle high][i % 3]].join(",") }
    File.write(rows, ["x,y,label", *lines].join("\n"))
  end

  it "of a row add up to the score, from Ruby and from the shell" do
    model = Transfer.train(backbone: "sklearn:StandardScaler", data: rows, quiet: true)
    expect(model.to_iruby).to match(["text/html", %r{<th scope="row">labels</th><td>high, low, middle</td>.*accuracy}])
    expect(model.evaluate(rows)).to be_a(Transfer::Metrics).and be_frozen
    row = { x: 2.6, y: 0.5 }
    why = model.explain(row)
    expect(why).to have_attributes(label: "high", method: :linear, against: nil, heatmap: nil, overlay: nil)
    expect(why.base + why.columns.values.sum).to be_within(1e-4).of(why.score)
    expect(why.top.keys).to eq(%w[x y])
    contrast = model.explain(row, for: "high", against: "low")
    expect(contrast.score).to be_within(1e-4).of(why.score - model.explain(row, for: :low).score)
    expect { model.explain(row, for: "hihg") }.to raise_error(Transfer::RecipeError, /did you mean "high"/)
    expect { model.explain([row]) }.to raise_error(ArgumentError, "explain takes one input, got several")
    expect { why.save("#{@scratch}/why.png") }.to raise_error(Transfer::ConfigurationError, /with \.html or \.json/)
    file = model.save("#{@scratch}/rows.transfer").to_s
    out, err, status = transfer("explain", file, row.to_json, "--output", "#{@scratch}/why.json")
    expect([out, err, status]).to eq([why.top.map { |name, score| "#{format('%.4f', score)}\t#{name}\n" }.join, "", 0])
    expect(JSON.parse(File.read("#{@scratch}/why.json"))).to eq(JSON.parse(why.to_json))
    expect(why.to_iruby).to match(["text/html", /<table>.*<th scope="row"[^>]*>x</m])
    expect(why.save("#{@scratch}/why.html").read).to include(why.to_html, "default-src 'none'")
    other = model.explain(row, method: :occlusion)
    expect(other).to have_attributes(method: :occlusion, base: nil, label: "high")
    expect { model.explain(row, method: :rise) }.to raise_error(Transfer::RecipeError, /unknown method "rise"/)
    nearest = model.similar(row, 2)
    expect(nearest.map(&:label)).to eq(%w[high high])
    expect(nearest.first).to have_attributes(text: /\Ax: 2\.\d+, y: 0\.\d+\z/, name: nil, thumbnail: nil)
    expect(nearest.map(&:distance)).to eq(nearest.map(&:distance).sort)
    out, err, status = transfer("similar", file, row.to_json, "--count", "2", "--json")
    expect([JSON.parse(out), err, status]).to eq([JSON.parse(nearest.to_json), "", 0])
    found = model.influential(row, 3)
    expect(found.map { |one| one.influence.abs }).to eq(found.map { |one| one.influence.abs }.sort.reverse)
    expect(transfer("similar", file, row.to_json, "--count", "3", "--influential").first.lines.first)
      .to eq("#{format('%.4g', found.first.influence)}\t#{found.first.label}\t#{found.first.text}\n")
    expect { model.similar(row, 0) }.to raise_error(Transfer::RecipeError, /expected 1 or more/)
  end

  it "of a photo are a heatmap and a picture" do
    model = Transfer.train(backbone: "mobilenet_v2", data: photo_folder("#{@scratch}/photos"), quiet: true)
    photo = Dir["#{@scratch}/photos/*/*"].min
    why = model.explain(photo)
    expect(why).to have_attributes(method: :hirescam, tokens: nil, columns: nil)
    expect(why.heatmap).to have_attributes(dtype: "float32", shape: [224, 224])
    expect(why.save("#{@scratch}/why.png").binread).to eq(why.overlay).and start_with("\x89PNG".b)
    file = model.save("#{@scratch}/photos.transfer").to_s
    out, err, status = transfer("explain", file, photo, "--output", "#{@scratch}/cli.png")
    expect([out, err, status]).to eq(["#{why.label} (hirescam): #{@scratch}/cli.png\n", "", 0])
    expect(File.binread("#{@scratch}/cli.png")).to eq(why.overlay)
    nearest = model.similar(photo, 1).first
    expect(nearest).to have_attributes(label: File.basename(File.dirname(photo)), thumbnail: start_with("\xFF\xD8".b))
    expect(transfer("similar", file, photo, "--count", "1").first)
      .to eq("#{[format('%.4g', nearest.distance), nearest.label, nearest.name].join("\t")}\n")
    expect(transfer("explain", file, photo).values_at(1, 2)).to match([/name a file with --output/, 2])

    maps = model.features(photo, block: "features_3", most: 2)
    out, err, status = transfer("features", file, photo, "--block", "features_3", "--most", "2",
                                "--output", "#{@scratch}/maps.png")
    means = maps.maps.to_a.map { |map| map.flatten.sum(&:abs) / map.flatten.size }
    expect([out.lines.map { |line| line.split("\t").first(2) }, err, status]).to eq(
      [maps.channels.zip(means).map { |channel, mean| [channel.to_s, format("%.4f", mean)] }, "", 0]
    )
    expect(File.binread("#{@scratch}/maps.png")).to eq(maps.overlay)
    expect(JSON.parse(transfer("features", file, photo, "--most", "2", "--json").first)["channels"].size).to eq(2)
    expect(transfer("attention", file, photo, "--json").values_at(1, 2)).to match(["", 2])
  end
end
